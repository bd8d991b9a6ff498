"""The large model in the place of an ensemble that failed, or whose members disagree."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable

from serve_app.core import Delta, HeadraceError, Query
from serve_app.patterns.answerers import Node, Single
from serve_app.patterns.cascade import WhenFailed
from serve_app.patterns.failover import Tried, because, may_another_answer
from serve_app.patterns.guard import Guard, Unguarded, is_granted
from serve_app.patterns.trace import Trace


class LargeModel:
    """What the cascade's settings say about it holds for ensembles too."""

    def __init__(
        self, node: Node, guard: Guard | None = None, when_failed: Callable[[], WhenFailed] = WhenFailed
    ) -> None:
        self._node, self._single, self._when_failed = node, Single(node), when_failed
        self._guard: Guard = guard or Unguarded()

    def is_asked(self, node: Node) -> bool:
        """Whether that node is the large model's."""
        return node.name == self._node.name

    async def is_granted(self, trace: Trace, choice_index: int) -> bool:
        """Whether there is a replica and a budget; the account says what is lacking."""
        return await is_granted(self._guard, self._node.waking, trace, choice_index)

    def may_step_in(self, error: HeadraceError) -> bool:
        """Whether it may answer a query whose ensemble failed so."""
        return self._when_failed().small == "escalate" and may_another_answer(error)

    async def steps_in(self, error: HeadraceError, trace: Trace, choice_index: int) -> bool:
        """Whether it does, within the budget; the account says so. Raises BudgetExceeded where that is to be raised."""
        if not (self.may_step_in(error) and await self._guard.may_escalate(trace.query)):
            return False
        trace.degraded("small_failed", because("the ensemble", error), choice_index)
        return True

    def answer(self, query: Query, trace: Trace, choice_index: int) -> AsyncGenerator[Delta]:
        """It sees the conversation and no adapter."""
        return self._single.answer(query, trace, None, choice_index)

    def tried(self, query: Query, trace: Trace, choice_index: int) -> Tried:
        """Its answer, in whose place another may be given."""
        return Tried(self.answer(query, trace, choice_index))

    def replaced(self, error: HeadraceError, trace: Trace, choice_index: int) -> None:
        """It failed, and another answer is given; the account says so. Raises the error where none may be."""
        if self._when_failed().large == "fail":
            raise error
        trace.degraded("large_failed", because("the large model", error), choice_index)
