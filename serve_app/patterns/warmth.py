"""A large model that may have no replica: what is done with its queries while it starts, and how that is known.

Knows neither who starts it nor how; docs/scaling.md says what does.
"""

import math
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Protocol, cast

from serve_app.config.scaling import ColdPolicy
from serve_app.core import Call, Delta, EngineError, EngineInfo, Group, GroupEngine, MemberDelta, RetryLater
from serve_app.scaling import while_cold


class Starting(EngineError, RetryLater):
    """The large model has no replica yet, and the query shall not wait for one."""


class Warmth(Protocol):
    """Whether a node can answer now."""

    def remaining_s(self) -> float | None:
        """Seconds until its first replica should answer, as far as is known; None: one does."""
        ...


class Waking:
    """Decides for each query that the large model is wanted for. `withheld` is told of those it does not get.

    Whoever scales the model must count them as escalated, or nothing would ever start it.
    """

    def __init__(
        self, warmth: Warmth, policy: ColdPolicy, patience_s: float, withheld: Callable[[], None] = lambda: None
    ) -> None:
        self._warmth, self._policy, self._patience_s, self._withheld = warmth, policy, patience_s, withheld

    @property
    def is_cold(self) -> bool:
        """Whether there is no replica."""
        return self._warmth.remaining_s() is not None

    def escalation_withheld(self) -> str | None:
        """Why a small answer is kept that the rule would escalate; None: escalate, be it to wait."""
        to_go_s = self.not_awaited_s()
        if to_go_s is None:
            return None
        self._withheld()
        return f"the large model is starting, {to_go_s} s to go"

    def not_awaited_s(self) -> int | None:
        """Seconds still to go, rounded up, of a start that queries do not wait for; None: they go ahead."""
        remaining_s = self._warmth.remaining_s()
        if remaining_s is None or while_cold(self._policy, remaining_s, self._patience_s) == "wait":
            return None
        return max(1, math.ceil(remaining_s))


class WakingEngine:
    """`core.GroupEngine` on a node that may have no replica: calls wait for one, or are refused, as `Waking` says."""

    def __init__(self, engine: GroupEngine, waking: Waking) -> None:
        self._engine, self._waking = engine, waking

    async def generate(self, call: Call) -> AsyncGenerator[Delta]:
        """The engine's deltas. Raises Starting where the query shall not wait."""
        self._refuse_if_not_awaited()
        async with aclosing(cast(AsyncGenerator[Delta], self._engine.generate(call))) as deltas:
            async for delta in deltas:
                yield delta

    async def generate_group(self, group: Group) -> AsyncGenerator[MemberDelta]:
        """What the engine gives. Raises Starting where the query shall not wait."""
        self._refuse_if_not_awaited()
        async with aclosing(cast(AsyncGenerator[MemberDelta], self._engine.generate_group(group))) as deltas:
            async for delta in deltas:
                yield delta

    async def info(self) -> EngineInfo:
        """The engine's state. Raises EngineError where there is no replica: asking would start one."""
        if self._waking.is_cold:
            raise EngineError("The large model has no replica now; it starts when queries need it.")
        return await self._engine.info()

    def _refuse_if_not_awaited(self) -> None:
        to_go_s = self._waking.not_awaited_s()
        if to_go_s is not None:
            raise Starting(f"The large model is starting; try again in {to_go_s} s.", to_go_s)
