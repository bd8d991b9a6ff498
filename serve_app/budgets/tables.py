"""The table of budgets handed out. `doc` gives each column's unit or meaning; a migration in `store` creates it."""

from sqlalchemy import BigInteger, Column, MetaData, String, Table

metadata = MetaData()

budget_grants = Table(
    "budget_grants",
    metadata,
    Column("budget", String, primary_key=True, doc="name of the limit: whose, and over which window"),
    Column(
        "window_start_s",
        BigInteger,
        primary_key=True,
        autoincrement=False,
        doc="seconds since the epoch, window's start",
    ),
    Column("gateway", String, primary_key=True, doc="id of the gateway replica that holds the grant"),
    Column(
        "granted_nusd", BigInteger, nullable=False, doc="nano-dollars it may spend in the window, spent ones included"
    ),
    Column("granted_tokens", BigInteger, nullable=False, doc="tokens it may use in the window, used ones included"),
)
