"""The registry's tables. `doc` gives the unit or the meaning of each column; a migration in `store` creates them."""

from sqlalchemy import JSON, BigInteger, Boolean, Column, Double, Index, Integer, MetaData, String, Table, text

metadata = MetaData()

adapter_revision = Table(
    "adapter_revision",
    metadata,
    Column("one", Integer, primary_key=True, autoincrement=False, doc="always 1: the table has one row"),
    Column("revision", BigInteger, nullable=False, doc="rises by one with every change of the registry"),
)

adapter_names = Table(
    "adapter_names",
    metadata,
    Column("name", String, primary_key=True, doc="what calls ask for"),
    Column("canary_weight", Double, nullable=False, doc="share of its conversations that the canary answers, 0 to 1"),
    Column("pinned", Boolean, nullable=False, doc="whether every engine keeps it resident"),
)

adapter_versions = Table(
    "adapter_versions",
    metadata,
    Column("name", String, primary_key=True, doc="of the adapter"),
    Column("version", String, primary_key=True, doc="first 12 hexadecimal digits of the digest"),
    Column("digest", String, nullable=False, doc="sha256 over the files; their place in the artefact store"),
    Column("state", String, nullable=False, doc="verified, staged, canary, live, retired or rejected"),
    Column("source", String, nullable=False, doc="where it came from"),
    Column("rank", Integer, nullable=False, doc="of its matrices"),
    Column("size_bytes", BigInteger, nullable=False, doc="of its files together"),
    Column("base_verified", Boolean, nullable=False, doc="whether its manifest names the digest of the base"),
    Column("base_override", Boolean, nullable=False, doc="whether it may be of another base"),
    Column("created_at_s", Double, nullable=False, doc="seconds since the epoch at which it came"),
    Column("created_by", String, nullable=False, doc="name of the API key, or settings"),
    Column("report", JSON, nullable=False, doc="what checks and gates found"),
    Column("added_revision", BigInteger, nullable=False, doc="revision with which it came first; orders versions"),
    Column("promoted_revision", BigInteger, doc="revision with which it was promoted last; null: never"),
    Column("retired_at_s", Double, doc="seconds since the epoch; null: it is not retired"),
    Column("files", String, nullable=False, doc="in the artefact store: kept, leaving or gone"),
    *(
        Index(
            f"adapter_versions_{state}",
            "name",
            unique=True,
            sqlite_where=text(f"state = '{state}'"),
            postgresql_where=text(f"state = '{state}'"),
        )
        for state in ("live", "canary")
    ),
)

adapter_audit = Table(
    "adapter_audit",
    metadata,
    Column("revision", BigInteger, primary_key=True, autoincrement=False, doc="the one that the change made"),
    Column("at_s", Double, nullable=False, doc="seconds since the epoch"),
    Column("actor", String, nullable=False, doc="name of the API key, settings or canary"),
    Column("action", String, nullable=False, doc="what was done"),
    Column("name", String, nullable=False, index=True, doc="of the adapter"),
    Column("version", String, doc="that it was done to; null: to the adapter as a whole"),
    Column("detail", String, nullable=False, doc="more of it, in words"),
)
