"""The ledger's tables. `doc` gives the unit or the meaning of each column; the migrations in `store` create them.

Money is integer nano-dollars, time is seconds since the epoch (so UTC), busy time is integer nanoseconds: sums in SQL
are exact and do not depend on their order.
"""

from sqlalchemy import BigInteger, Boolean, Column, Double, ForeignKey, Index, Integer, MetaData, String, Table

metadata = MetaData()

queries = Table(
    "queries",
    metadata,
    Column("query_id", String, primary_key=True, doc="id of the query; a second record of it is a no-op"),
    Column("created_at_s", Double, nullable=False, doc="seconds since the epoch at which the query arrived"),
    Column("requested_model", String, nullable=False, doc="name that the client asked for"),
    Column("outcome", String, nullable=False, doc="core.Outcome of the query"),
    Column("key_id", String, doc="id of the API key, never the key"),
    Column("route", String, doc="label that the router gave"),
    Column("route_probability", Double, doc="probability of the label, 0 to 1"),
    Column("adapter", String, doc="name of the adapter that answered; null is the bare base"),
    Column("adapter_version", String, doc="version of the adapter that answered"),
    Column("model", String, doc="name of the model that answered"),
    Column(
        "escalated",
        Boolean,
        nullable=False,
        doc="whether the cascade sent it to the large model, after a small draft or without one",
    ),
    Column("reason", String, nullable=False, doc="why it was accepted or escalated, in words"),
    Column("confidence", Double, doc="confidence signal of the small answer, 0 to 1"),
    Column("first_token_ms", Double, doc="milliseconds from arrival to the first token sent"),
    Column("ms", Double, nullable=False, doc="milliseconds from arrival to the end"),
    Column("price_version", String, doc="version of the prices used; null is not priced"),
    Column("cost_nusd", BigInteger, nullable=False, doc="nano-dollars, sum of the attempts' costs"),
    Column("always_large_nusd", BigInteger, nullable=False, doc="nano-dollars that the large model would have cost"),
    Column("always_large_basis", String, nullable=False, doc="measured or estimated"),
    Column("num_attempts", Integer, nullable=False, doc="count of the query's attempts"),
    Column("prompt_tokens", BigInteger, nullable=False, doc="tokens, sum over the attempts"),
    Column("completion_tokens", BigInteger, nullable=False, doc="tokens, sum over the attempts"),
    Column("busy_ns", BigInteger, nullable=False, doc="nanoseconds of engine time, sum over the attempts"),
    Index("queries_created_at_s", "created_at_s"),
)

attempts = Table(
    "attempts",
    metadata,
    Column(
        "query_id",
        String,
        ForeignKey("queries.query_id", ondelete="CASCADE"),
        primary_key=True,
        doc="id of the query",
    ),
    Column("attempt_index", Integer, primary_key=True, doc="position among the query's attempts, from 0"),
    Column("choice_index", Integer, nullable=False, doc="which of the n choices it was for, from 0"),
    Column("node", String, nullable=False, doc="deployment that ran it"),
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
)
