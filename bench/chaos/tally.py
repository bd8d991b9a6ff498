"""What clients saw of their queries: books of their own, to hold the ledger's against."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from serve_app.core import NANO_USD

End = Literal["finished", "left", "refused", "broken"]
"""`finished`: the whole answer arrived, its account too. `left`: the client went away on purpose, after its first
words. `refused`: an error status. `broken`: the connection or the stream ended in an error."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the gateway said of a finished query. Tokens are of all its attempts."""

    cost_nusd: int
    always_large_nusd: int
    prompt_tokens: int
    completion_tokens: int
    num_attempts: int


@dataclass(frozen=True, slots=True)
class Seen:
    """One request, as its client saw it."""

    kind: str
    end: End
    query_id: str | None
    """None: nothing of an answer arrived."""
    num_words: int = 0
    """Words of the answer that the client counted; a scripted engine's tokens."""
    told: Told | None = None
    """Of a finished query."""
    ms: float = 0.0
    why: str = ""
    """Of what was refused or broken."""


def told(account: dict[str, Any]) -> Told:
    """The `headrace` object of an answer, money as whole nano-dollars again.

    >>> usage = {"prompt_tokens": 3, "completion_tokens": 5}
    >>> told({"cost_usd": 1.5e-05, "always_large_usd": 2e-05, "attempts": [{"usage": usage}, {"usage": usage}]})
    Told(cost_nusd=15000, always_large_nusd=20000, prompt_tokens=6, completion_tokens=10, num_attempts=2)
    """
    usages = [attempt["usage"] for attempt in account["attempts"]]
    return Told(
        cost_nusd=round(account["cost_usd"] * NANO_USD),
        always_large_nusd=round(account["always_large_usd"] * NANO_USD),
        prompt_tokens=sum(usage["prompt_tokens"] for usage in usages),
        completion_tokens=sum(usage["completion_tokens"] for usage in usages),
        num_attempts=len(usages),
    )


def begun(seen: Sequence[Seen]) -> set[str]:
    """Queries of which some answer arrived: they were dispatched, so each has an account, whatever became of it."""
    return {one.query_id for one in seen if one.query_id is not None and one.end != "refused"}
