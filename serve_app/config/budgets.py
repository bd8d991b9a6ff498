"""How much may be spent, in money and in tokens, by all queries together and by each API key."""

from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from serve_app.config.section import Section

Window = Literal["minute", "day", "month"]

MOST_TOKENS = 10**15
"""Of a limit: sums of several still fit a column of the database."""


class Limit(Section):
    """One limit. Windows begin at the full minute, at midnight UTC, or on the first of the month."""

    per: Window = Field(description="What it counts over.")
    usd: Annotated[Decimal, Field(gt=0, le=1_000_000_000, allow_inf_nan=False)] | None = Field(
        None, description="Most US dollars in a window."
    )
    tokens: int | None = Field(
        None, ge=1, le=MOST_TOKENS, description="Most tokens in a window, prompts and answers of all attempts."
    )

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if self.usd is None and self.tokens is None:
            raise ValueError("give usd, tokens, or both")
        return self


class BudgetsSettings(Section):
    """Checked before a query is dispatched and again before it is escalated. With no limits set, nothing is checked."""

    total: list[Limit] = Field(default_factory=list, description="Limits on all queries together.")
    each_key: list[Limit] = Field(
        default_factory=list, description="Limits of every key that has none of its own, and of queries with no key."
    )
    keys: dict[str, list[Limit]] = Field(
        default_factory=dict,
        description="Key name -> its limits. Keys of `headrace keys create` bring theirs along; an entry here counts "
        "instead of those.",
    )
    over: Literal["stay_small", "refuse"] = Field(
        "stay_small",
        description="What happens to a query whose escalation no budget is left for: it keeps the small answer, or it "
        "gets 429. A query with no budget left for the small model always gets 429.",
    )
    warn_at: float = Field(
        0.8, gt=0, le=1, description="Share of a limit from which answers carry a warning header and the log says so."
    )
    when_away: Literal["allow", "refuse"] = Field(
        "allow",
        description="What happens to queries that need more budget than the gateway holds while the ledger is away. "
        "`allow`: they are answered, counted, and charged later, so a limit may be overrun meanwhile.",
    )
    slice_share: float = Field(
        0.05,
        gt=0,
        le=1,
        description="Share of a limit that a gateway takes from the ledger at a time, so that most queries need not "
        "ask; a query that needs more takes more.",
    )
