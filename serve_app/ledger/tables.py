"""The ledger's tables. `doc` gives the unit or the meaning of each column; the migrations in `store` create them.

Money is integer nano-dollars, time is seconds since the epoch (so UTC), busy time is integer nanoseconds: sums in SQL
are exact and do not depend on their order. Accounts are keyed by their day and id: on PostgreSQL `queries` and
`attempts` are partitioned by `day`, so that a day is dropped as a whole. No foreign key joins the two: they are written
in one transaction and deleted in one, and a key would be checked for every attempt.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

metadata = MetaData()

queries = Table(
    "queries",
    metadata,
    Column("day", Integer, primary_key=True, autoincrement=False, doc="days since the epoch at which it arrived, UTC"),
    Column("query_id", String, primary_key=True, doc="id of the query; a second record of it is a no-op"),
    Column("created_at_s", Double, nullable=False, doc="seconds since the epoch at which the query arrived"),
    Column("requested_model", String, nullable=False, doc="name that the client asked for"),
    Column("outcome", String, nullable=False, doc="core.Outcome of the query"),
    Column("key_id", String, doc="id of the API key, never the key"),
    Column("tier", String, nullable=False, doc="core.Tier: default, flex or priority"),
    Column("gateway", String, doc="id of the gateway replica that answered"),
    Column("cache", String, doc="core.CacheHit: how the response cache knew the answer; null is generated"),
    Column("shadow_of", String, doc="of a shadow: id of the query behind it"),
    Column("route", String, doc="label that the router gave"),
    Column("route_probability", Double, doc="probability of the label, 0 to 1"),
    Column("adapter", String, doc="name of the adapter that answered; null is the bare base"),
    Column("adapter_version", String, doc="version of the adapter that answered"),
    Column("model", String, doc="name of the model that answered"),
    Column(
        "escalated",
        Boolean,
        nullable=False,
        doc="whether the cascade left it to the large model, after a small draft or without one, and the small one had "
        "not to stay",
    ),
    Column("reason", String, nullable=False, doc="why it was accepted or escalated, in words"),
    Column("confidence", Double, doc="confidence signal of the small answer, 0 to 1"),
    Column("first_token_ms", Double, doc="milliseconds from arrival to the first token sent"),
    Column("ms", Double, nullable=False, doc="milliseconds from arrival to the end"),
    Column("first_token_bucket", Integer, doc="latency bucket of first_token_ms, by ledger.latency"),
    Column("ms_bucket", Integer, nullable=False, doc="latency bucket of ms, by ledger.latency"),
    Column("price_version", String, doc="version of the prices used; null is not priced"),
    Column("cost_nusd", BigInteger, nullable=False, doc="nano-dollars, sum of the attempts' costs"),
    Column("always_large_nusd", BigInteger, nullable=False, doc="nano-dollars that the large model would have cost"),
    Column("always_large_basis", String, nullable=False, doc="measured or estimated"),
    Column("saved_by_cache_nusd", BigInteger, nullable=False, doc="nano-dollars that the response cache saved"),
    Column("saved_by_prefix_nusd", BigInteger, nullable=False, doc="nano-dollars that cached prompt tokens saved"),
    Column("saved_by_tier_nusd", BigInteger, nullable=False, doc="nano-dollars that the tier saved"),
    Column("num_attempts", Integer, nullable=False, doc="count of the query's attempts"),
    Column("prompt_tokens", BigInteger, nullable=False, doc="tokens, sum over the attempts"),
    Column("cached_tokens", BigInteger, nullable=False, doc="tokens, sum over the attempts, included in prompt_tokens"),
    Column("completion_tokens", BigInteger, nullable=False, doc="tokens, sum over the attempts"),
    Column("busy_ns", BigInteger, nullable=False, doc="nanoseconds of engine time, sum over the attempts"),
    Index("queries_created_at_s", "created_at_s"),
    Index("queries_key_id_created_at_s", "key_id", "created_at_s"),
    postgresql_partition_by="RANGE (day)",
)
Index(
    "queries_shadows_created_at_s",
    queries.c.created_at_s,
    sqlite_where=queries.c.shadow_of.is_not(None),
    postgresql_where=queries.c.shadow_of.is_not(None),
)

attempts = Table(
    "attempts",
    metadata,
    Column("day", Integer, primary_key=True, autoincrement=False, doc="day of the query"),
    Column("query_id", String, primary_key=True, doc="id of the query"),
    Column(
        "attempt_index",
        Integer,
        primary_key=True,
        autoincrement=False,
        doc="position among the query's attempts, from 0",
    ),
    Column("role", String, nullable=False, doc="core.AttemptRole: what it was for"),
    Column("choice_index", Integer, nullable=False, doc="which of the n choices it was for, from 0"),
    Column("node", String, nullable=False, doc="deployment that ran it, or cache"),
    Column("model", String, nullable=False, doc="name of the model, without the adapter"),
    Column("adapter", String, doc="name of the adapter; null is the bare base"),
    Column("adapter_version", String, doc="version of the adapter"),
    Column("outcome", String, nullable=False, doc="core.Outcome of the attempt"),
    Column("prompt_tokens", BigInteger, nullable=False, doc="tokens of the prompt"),
    Column("cached_tokens", BigInteger, nullable=False, doc="tokens, included in prompt_tokens"),
    Column("completion_tokens", BigInteger, nullable=False, doc="tokens generated, disjoint from prompt_tokens"),
    Column("busy_ns", BigInteger, nullable=False, doc="nanoseconds of engine time attributed to it"),
    Column("ms", Double, nullable=False, doc="milliseconds from dispatch to the last delta"),
    Column("confidence", Double, doc="confidence signal of this attempt, 0 to 1"),
    Column("cost_nusd", BigInteger, nullable=False, doc="nano-dollars"),
    postgresql_partition_by="RANGE (day)",
)

ledger_days = Table(
    "ledger_days",
    metadata,
    Column("day", Integer, primary_key=True, autoincrement=False, doc="days since the epoch that have or had accounts"),
    Column("pruned_at_s", Double, doc="seconds since the epoch at which its accounts were deleted; null is kept"),
)

rollup_groups = Table(
    "rollup_groups",
    metadata,
    Column("group_id", LargeBinary, primary_key=True, doc="16 bytes of the SHA-256 of the other columns' values"),
    Column("route", String, doc="as in queries"),
    Column("adapter", String, doc="as in queries"),
    Column("adapter_version", String, doc="as in queries"),
    Column("model", String, doc="as in queries"),
    Column("key_id", String, doc="as in queries"),
    Column("outcome", String, nullable=False, doc="as in queries"),
    Column("tier", String, doc="as in queries; null in a coarse group only"),
    Column("cache", String, doc="as in queries"),
    Column("price_version", String, doc="as in queries"),
)

rollups = Table(
    "rollups",
    metadata,
    Column("coarse", Boolean, primary_key=True, doc="whether the group leaves out key, adapter, its version and tier"),
    Column("span_s", Integer, primary_key=True, autoincrement=False, doc="seconds summed up: 3600 or 86400"),
    Column("start_s", BigInteger, primary_key=True, autoincrement=False, doc="seconds since the epoch, span's start"),
    Column("group_id", LargeBinary, primary_key=True, doc="row of rollup_groups"),
    Column("num_queries", BigInteger, nullable=False, doc="count of accounts, shadows included"),
    Column("num_attempts", BigInteger, nullable=False, doc="count of their attempts"),
    Column("num_escalated", BigInteger, nullable=False, doc="count of escalated accounts"),
    Column("num_measured", BigInteger, nullable=False, doc="count of accounts whose always-large cost is measured"),
    Column("prompt_tokens", BigInteger, nullable=False, doc="tokens, sum"),
    Column("cached_tokens", BigInteger, nullable=False, doc="tokens, sum, included in prompt_tokens"),
    Column("completion_tokens", BigInteger, nullable=False, doc="tokens, sum"),
    Column("busy_ns", BigInteger, nullable=False, doc="nanoseconds of engine time, sum"),
    Column("cost_nusd", BigInteger, nullable=False, doc="nano-dollars, sum"),
    Column("always_large_nusd", BigInteger, nullable=False, doc="nano-dollars, sum"),
    Column("saved_by_cache_nusd", BigInteger, nullable=False, doc="nano-dollars, sum"),
    Column("saved_by_prefix_nusd", BigInteger, nullable=False, doc="nano-dollars, sum"),
    Column("saved_by_tier_nusd", BigInteger, nullable=False, doc="nano-dollars, sum"),
    Column("ms_histogram", LargeBinary, nullable=False, doc="counts of ms_bucket, packed by ledger.latency"),
    Column("first_token_histogram", LargeBinary, nullable=False, doc="counts of first_token_bucket, packed likewise"),
    sqlite_with_rowid=False,
)

price_versions = Table(
    "price_versions",
    metadata,
    Column("version", String, primary_key=True, doc="name of the set of prices"),
    Column("effective_from_s", Double, nullable=False, doc="seconds since the epoch from which it counts; 0 is always"),
    Column("digest", String, nullable=False, doc="SHA-256 of the figures, hexadecimal"),
    Column("document", Text, nullable=False, doc="the prices as JSON"),
    Column("stored_at_s", Double, nullable=False, doc="seconds since the epoch at which it was stored"),
)

repricings = Table(
    "repricings",
    metadata,
    Column("repricing_id", String, primary_key=True, doc="id of the comparison"),
    Column("version", String, nullable=False, doc="version of the prices that the period was priced at"),
    Column("since_s", Double, doc="seconds since the epoch, start of the period; null is open"),
    Column("until_s", Double, doc="seconds since the epoch, end of the period, exclusive; null is open"),
    Column("created_at_s", Double, nullable=False, doc="seconds since the epoch at which it was made"),
)

repriced_queries = Table(
    "repriced_queries",
    metadata,
    Column("repricing_id", String, primary_key=True, doc="row of repricings"),
    Column("day", Integer, primary_key=True, autoincrement=False, doc="day of the query"),
    Column("query_id", String, primary_key=True, doc="id of the query"),
    Column("cost_nusd", BigInteger, nullable=False, doc="nano-dollars at the other prices"),
    Column("always_large_nusd", BigInteger, nullable=False, doc="nano-dollars of always-large at the other prices"),
)

provisioned = Table(
    "provisioned",
    metadata,
    Column("hour_s", BigInteger, primary_key=True, autoincrement=False, doc="seconds since the epoch, hour's start"),
    Column("deployment", String, primary_key=True, doc="name of the deployment"),
    Column("replica_ns", BigInteger, nullable=False, doc="nanoseconds that its replicas ran, sum over the replicas"),
)

texts = Table(
    "texts",
    metadata,
    Column("query_id", String, primary_key=True, doc="id of the query"),
    Column("day", Integer, nullable=False, doc="days since the epoch at which it arrived; retention goes by it"),
    Column("key_id", String, doc="id of the API key, never the key"),
    Column("prompt", Text, nullable=False, doc="what was asked, after redaction"),
    Column("answer", Text, nullable=False, doc="what was answered, after redaction"),
    Column("model", String, doc="name of the model that answered"),
    Column("adapter", String, doc="name of the adapter that answered; null is the bare base"),
    Column("adapter_version", String, doc="version of the adapter that answered"),
    Column(
        "escalated",
        Boolean,
        nullable=False,
        doc="whether the cascade left it to the large model, and the small one had not to stay",
    ),
    Column("created_at_s", Double, nullable=False, doc="seconds since the epoch at which the query arrived"),
    Index("texts_day", "day"),
)
