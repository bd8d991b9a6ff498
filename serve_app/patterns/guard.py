"""Who may stop an escalation: budgets where a client is answered, nobody behind its answer; and a cold large model."""

from typing import Protocol

from serve_app.core import Query
from serve_app.patterns.trace import Trace
from serve_app.patterns.warmth import Waking


class Guard(Protocol):
    """Asked when the rule wants the large model, before it is dispatched."""

    async def may_escalate(self, query: Query) -> bool:
        """False: keep the small answer. Raises BudgetExceeded where the query shall be refused instead."""
        ...


class Unguarded:
    """Every escalation may go ahead."""

    async def may_escalate(self, query: Query) -> bool:
        """Yes."""
        return True


async def is_granted(guard: Guard, waking: Waking | None, trace: Trace, choice_index: int) -> bool:
    """Whether the large model may be asked; where it may not, the account says why. `waking`: of that model."""
    if waking is not None and (why := waking.escalation_withheld()):
        trace.degraded("large_cold", why, choice_index)
        return False
    if await guard.may_escalate(trace.query):
        return True
    trace.degraded("no_budget", "no budget to escalate", choice_index)
    return False
