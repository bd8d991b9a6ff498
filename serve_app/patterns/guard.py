"""Who may stop an escalation: budgets, in production; nobody, where none are set."""

from typing import Protocol

from serve_app.core import Query


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
