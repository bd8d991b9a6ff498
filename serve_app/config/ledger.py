"""Where the accounts of the queries are kept, and how they get there."""

from typing import Literal

from pydantic import Field

from serve_app.config.section import Section


class JournalSettings(Section):
    """What a gateway writes down on its own disk before a query is dispatched and before its last chunk is sent."""

    folder: str | None = Field(
        None,
        description="Local folder, on a disk that outlives the process; may begin with an environment variable of the "
        "node, as in `$SCRATCH/journals`. Unset: beside the SQLite file, or in the user's state folder.",
    )
    segment_mb: int = Field(4, ge=1, le=256, description="Size of one file, in MiB.")
    max_mb: int = Field(1024, ge=2, description="Bound on the accounts not yet in the database, per gateway, in MiB.")
    when_full: Literal["refuse", "serve_unrecorded"] = Field(
        "refuse",
        description="What happens to new queries when the disk or the journal is full: 503, or an answer that is "
        "counted and, if its gateway is killed before the ledger has it, not recorded.",
    )


class TextsSettings(Section):
    """Prompts and answers. Off unless switched on; an account never holds text."""

    store: bool = Field(False, description="Whether prompts and answers are kept in the database.")
    keys: list[str] = Field(
        default_factory=list, description="Names of the keys whose texts are kept; empty: those of all."
    )
    retention_days: int = Field(30, ge=1, description="Days after which texts are deleted.")
    redact: str | None = Field(
        None, description="`package.module:function`, called with each text before it is stored; returns what is kept."
    )

    def wants(self, key_id: str | None, opted_in: bool) -> bool:
        """Whether the texts of this key may be kept; `opted_in`: the key itself was made so."""
        return self.store and (opted_in or not self.keys or key_id in self.keys)


class LedgerSettings(Section):
    """One SQL database, written by one process; gateways hand it their accounts in batches."""

    url: str = Field(
        "sqlite:///headrace.sqlite3",
        repr=False,  # may hold a password
        description="`sqlite:///FILE`, a plain path, or `postgresql://USER@HOST/DATABASE` (extra `postgres`). "
        "A relative file lies in the working directory of the process that opens it.",
    )
    durability: Literal["local", "replicated"] = Field(
        "local",
        description="What the last chunk of an answer waits for: `local`, the gateway's own disk, which survives the "
        "death of any process; `replicated`, the database, which survives the loss of the gateway's machine.",
    )
    replicate_timeout_s: float = Field(
        2.0,
        gt=0,
        description="Longest wait for the database with `durability: replicated`; after it the answer goes out as with "
        "`local`, and is counted.",
    )
    journal: JournalSettings = Field(default_factory=JournalSettings, description="Accounts on a gateway's own disk.")
    texts: TextsSettings = Field(default_factory=TextsSettings, description="Prompts and answers.")
    retention_days: int | None = Field(
        None, ge=1, description="Days after which single accounts are deleted; hourly totals stay. Unset: never."
    )
    flush_ms: int = Field(
        250, ge=1, le=60_000, description="An account waits at most this many milliseconds before it is sent off."
    )
    max_batch: int = Field(500, ge=1, le=10_000, description="Accounts per transaction; a full batch is sent at once.")
