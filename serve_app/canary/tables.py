"""The tables of trials. `doc` gives the unit or the meaning of each column; a migration in `store` creates them."""

from sqlalchemy import JSON, BigInteger, Column, Double, MetaData, String, Table

metadata = MetaData()

_KEY = (
    ("name", "of the adapter"),
    ("canary", "version that is tried"),
    ("live", "version that it is compared with"),
)

canary_trials = Table(
    "canary_trials",
    metadata,
    *(Column(name, String, primary_key=True, doc=doc) for name, doc in _KEY),
    Column("began_revision", BigInteger, primary_key=True, autoincrement=False,
           doc="of the registry: evidence from before is of an earlier trial of the two"),
    Column("began_at_s", Double, nullable=False, doc="seconds since the epoch"),
    Column("ended_at_s", Double, doc="seconds since the epoch; null: it runs"),
    Column("ended_revision", BigInteger, doc="of the registry, by then; null: it runs"),
    Column("ended_by", String, doc="promote, rollback, or others where a version was changed by others; null: runs"),
    Column("verdict", JSON, nullable=False, doc="what the rule said last"),
)  # fmt: skip

canary_evidence = Table(
    "canary_evidence",
    metadata,
    Column("gateway", String, primary_key=True, doc="id of the gateway replica that has added it up"),
    *(Column(name, String, primary_key=True, doc=doc) for name, doc in _KEY),
    Column("since_revision", BigInteger, primary_key=True, autoincrement=False, doc="of the registry, as it began"),
    Column("sequence", BigInteger, nullable=False, doc="rises with every change of the totals"),
    Column("totals", JSON, nullable=False, doc="canary.TrialEvidence: all that this gateway has seen of the trial"),
)  # fmt: skip
