"""What a shadow leaves behind: its account, and what it found out."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from serve_app.core import Answer, Attempt, Delta, Query, RouteScore
from serve_app.patterns.trace import Trace

ShadowKind = Literal["audit", "mirror", "canary"]

Scorer = Callable[[str, str, str], Awaitable[float | None]]
"""(question, small answer, large answer) -> how good the small answer is, 0 to 1, or None where that cannot be said."""


@dataclass(frozen=True, slots=True)
class ShadowReport:
    """One shadow, however it ended."""

    kind: ShadowKind
    account: Answer
    """Unpriced. Its outcome is `shadow`: it is no query of a client, and nothing that it cost would always-large have
    cost. Attempts that ran to their end are `shadow` too; others say how they ended. It is charged to no key."""
    score: float | None
    """Of the small answer against the large one, or without a large model against the live version's; None: not scored,
    or it did not come so far."""
    would_accept: bool | None
    """What the rule said of a mirrored query; None: no mirror, or it did not come so far."""


class OnShadow(Protocol):
    """Takes the reports."""

    def __call__(self, report: ShadowReport) -> None:
        """Called on the event loop, once for each shadow that began, also when it is cancelled; must not block."""
        ...


def shadow_trace(query: Query, kind: ShadowKind, route: RouteScore | None, passage_score: float | None = None) -> Trace:
    """A trace for a shadow of this query: an id, a model name, a time and a bill of its own."""
    trace = Trace(replace(query, query_id=f"{query.query_id}-{kind}", model=kind, key_id=None, timeout_s=None))
    trace.route, trace.passage_score = route, passage_score
    return trace


def shadow_account(trace: Trace, reason: str) -> Answer:
    """The account of a shadow as it stands: what an answer to a client would say of its end is taken out."""
    account = trace.answer()
    return replace(
        account,
        outcome="shadow",
        attempts=tuple(_shadowed(attempt) for attempt in account.attempts),
        adapter=None,
        adapter_version=None,
        model=None,
        escalated=False,
        reason=reason,
        tier="default",
        shadow_of=trace.query.query_id.removesuffix(f"-{trace.query.model}"),
    )


async def text_of(deltas: AsyncGenerator[Delta]) -> str:
    """A whole answer; closes the stream however it ends."""
    async with aclosing(deltas):
        return "".join([delta.text async for delta in deltas])


async def scored(scorer: Scorer, query: Query, small_answer: str, large_answer: str) -> float | None:
    """The score. Raises ValueError for a number that is none: compared with a threshold, NaN would count as good."""
    score = await scorer(shown_question(query), small_answer, large_answer)
    if score is not None and not 0 <= score <= 1:
        raise ValueError(f"the scorer gave {score}, which is not between 0 and 1")
    return score


def shown_question(query: Query) -> str:
    """What a scorer is shown: the user's words, or the turns with their roles where there are several.

    >>> from serve_app.core import Message, SamplingParams
    >>> turns = (Message("user", "2 + 2?"), Message("assistant", "4"), Message("user", "Sure?"))
    >>> shown_question(Query("q1", "auto", SamplingParams(), turns))
    'user: 2 + 2?\\nassistant: 4\\nuser: Sure?'
    """
    turns = [turn for turn in query.conversation if turn.role != "system"]
    if len(turns) == 1:
        return turns[0].content
    return "\n".join(f"{turn.role}: {turn.content}" for turn in turns)


def _shadowed(attempt: Attempt) -> Attempt:
    """An attempt for the look behind an answer: where it ran to its end, it accepted nothing."""
    ended = attempt.outcome in ("accepted", "escalated")
    return replace(attempt, role="shadow", outcome="shadow" if ended else attempt.outcome)
