"""The table of API keys. `doc` gives the unit or the meaning of each column; a migration in `store` creates it."""

from sqlalchemy import JSON, Boolean, Column, Double, MetaData, String, Table

metadata = MetaData()

api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", String, primary_key=True, doc="name of the key, as accounts carry it"),
    Column("hash", String, nullable=False, doc="SHA-256 of the key, hexadecimal; the key itself is nowhere"),
    Column("role", String, nullable=False, doc="user or admin"),
    Column("models", JSON(none_as_null=True), doc="list of models and adapters it may ask for; null is all"),
    Column("limits", JSON, nullable=False, doc="list of config.budgets.Limit, as JSON"),
    Column("semantic_cache", Boolean, nullable=False, doc="whether its queries may get answers to similar questions"),
    Column("store_texts", Boolean, nullable=False, doc="whether its prompts and answers are kept"),
    Column("priority", Boolean, nullable=False, doc="whether it may ask for the service tier `priority`"),
    Column("created_at_s", Double, nullable=False, doc="seconds since the epoch at which it was made"),
    Column("revoked_at_s", Double, doc="seconds since the epoch from which it is refused; null is valid"),
)
