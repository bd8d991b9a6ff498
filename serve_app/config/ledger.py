"""Where the accounts of the queries are kept, and how they get there."""

from pydantic import Field

from serve_app.config.section import Section


class LedgerSettings(Section):
    """One SQL database, written by one process; gateways hand it their accounts in batches."""

    url: str = Field(
        "sqlite:///headrace.sqlite3",
        repr=False,  # may hold a password
        description="`sqlite:///FILE`, a plain path, or `postgresql://USER@HOST/DATABASE` (extra `postgres`). "
        "A relative file lies in the working directory of the process that opens it.",
    )
    flush_ms: int = Field(
        50, ge=1, le=60_000, description="An account waits at most this many milliseconds before it is sent off."
    )
    max_batch: int = Field(500, ge=1, le=10_000, description="Accounts per transaction; a full batch is sent at once.")
    max_pending: int = Field(
        20_000,
        ge=1,
        description="Unsaved accounts above which a gateway takes no new queries. Accounts of queries under way are "
        "still kept: none is ever dropped.",
    )
