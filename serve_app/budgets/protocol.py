"""How a gateway and the authority talk: a gateway says what it holds of a budget and what it lacks.

What it holds is told as a total, never as a change. A message that is lost, or that is carried out although its sender
no longer waited for it, is put right by the next one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from serve_app.budgets.amount import NOTHING, Amount
from serve_app.budgets.budget import Budget
from serve_app.budgets.windows import Span


@dataclass(frozen=True, slots=True)
class Ask:
    """A gateway's word on one budget in one window. With nothing lacking and no slice, it only gives back."""

    budget: Budget
    span: Span
    held: Amount
    """All that it has used, reserved or keeps ready of the window. More than it was granted after an overrun."""
    lacking: Amount = NOTHING
    """What it cannot do without: granted whole or not at all."""
    slice: Amount = NOTHING
    """What it would like to keep ready, what it lacks included."""


@dataclass(frozen=True, slots=True)
class Grant:
    """The authority's answer to one `Ask`."""

    held: Amount
    """All that the gateway holds of the window now."""
    others: Amount
    """What other gateways hold, and what was spent in the window before the first grant."""


class LeaseSource(Protocol):
    """The budgets' authority, local or behind a handle."""

    async def lease(self, gateway: str, asks: Sequence[Ask]) -> tuple[Grant, ...]:
        """Answer each ask, all in one transaction; returns after commit. Raises LedgerError when it cannot."""
        ...


def granted(ask: Ask, others: Amount) -> Grant:
    """What an ask gets where `others` is taken already. All that is held never passes the limit through a grant.

    Where half of what is left is less than the slice, that half is given: near the limit little lies idle.

    >>> from serve_app.budgets.budget import Meter
    >>> budget = Budget(Meter("total", None, "day"), nusd=100, tokens=None)
    >>> granted(Ask(budget, Span(0, 60), Amount(10), lacking=Amount(2), slice=Amount(20)), others=Amount(30)).held
    Amount(nusd=30, tokens=0)
    >>> granted(Ask(budget, Span(0, 60), Amount(10), lacking=Amount(2), slice=Amount(20)), others=Amount(86)).held
    Amount(nusd=12, tokens=0)
    >>> granted(Ask(budget, Span(0, 60), Amount(10), lacking=Amount(5), slice=Amount(20)), others=Amount(86)).held
    Amount(nusd=10, tokens=0)
    """
    taken = others + ask.held
    nusd = _more(ask.budget.nusd, taken.nusd, ask.lacking.nusd, ask.slice.nusd)
    tokens = _more(ask.budget.tokens, taken.tokens, ask.lacking.tokens, ask.slice.tokens)
    if nusd is None or tokens is None:
        return Grant(ask.held, others)
    return Grant(ask.held + Amount(nusd, tokens), others)


def _more(limit: int | None, taken: int, lacking: int, wished: int) -> int | None:
    """What is given on top; None: what is lacking is not there. Without a limit nothing has to be granted."""
    if limit is None:
        return 0
    left = limit - taken
    if lacking > left:
        return None
    return max(lacking, min(wished, left // 2))
