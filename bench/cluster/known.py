"""A scripted engine of known capacity: so many rows, each held for a set time; others wait by priority, or are refused.

Named in settings as `engine: bench.cluster.known:queueing` (rows and waiting places are the node's) or `…:instant`,
which answers at once: what is measured with it is all that is around an engine.
"""

import asyncio
import heapq
import itertools
import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

from serve_app.config.nodes import AdapterSource, NodeSettings
from serve_app.core import Call, Delta, EngineInfo, FinishReason, Overloaded, TokenStat, Usage

FIRST_S, HOLD_S = 0.1, 0.4
"""From getting a row to the first text, and to the end, on average."""
_SPREAD = 0.3
WORDS = ("four", " words", " of", " answer")


@dataclass
class KnownEngine:
    """A `core.Engine`. A capacity of `num_rows / hold_s` calls a second."""

    model: str
    adapters: Mapping[str, str]
    num_rows: int
    max_waiting: int
    first_s: float = FIRST_S
    hold_s: float = HOLD_S
    _busy: int = field(default=0, init=False)
    _waiting: list[tuple[int, int, asyncio.Future[None]]] = field(default_factory=list, init=False)
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count, init=False)
    _chance: random.Random = field(default_factory=lambda: random.Random(0), init=False)

    async def generate(self, call: Call) -> AsyncIterator[Delta]:
        """Four words, the first after a while, the others at the end. Raises Overloaded."""
        await self._row(call.priority)
        try:
            version = call.adapter_version or self.adapters.get(call.adapter or "")
            part = 1 + self._chance.uniform(-_SPREAD, _SPREAD)
            await _wait(self.first_s * part)
            yield _delta(0, version)
            await _wait((self.hold_s - self.first_s) * part)
            for index in range(1, len(WORDS)):
                yield _delta(index, version)
        finally:
            self._busy -= 1
            self._next()

    async def info(self) -> EngineInfo:
        """Rows and waiting calls."""
        return EngineInfo(self.model, 2048, self.adapters, active_rows=self._busy, waiting_calls=len(self._waiting))

    async def _row(self, priority: int) -> None:
        if self._busy < self.num_rows and not self._waiting:
            self._busy += 1
            return
        if len(self._waiting) >= self.max_waiting:
            raise Overloaded(f"{self.model} has {self.max_waiting} calls waiting; try again later.")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (-priority, next(self._numbers), turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it had just got its row
                self._busy -= 1
                self._next()
            raise

    def _next(self) -> None:
        while self._waiting and self._busy < self.num_rows:
            _, _, turn = heapq.heappop(self._waiting)
            if not turn.done():
                self._busy += 1
                turn.set_result(None)


async def _wait(seconds: float) -> None:
    if seconds:
        await asyncio.sleep(seconds)


def _delta(index: int, version: str | None) -> Delta:
    stat = TokenStat(index, WORDS[index], -0.05, 0.2, 3.0)
    reason: FinishReason | None = "stop" if index == len(WORDS) - 1 else None
    return Delta(WORDS[index], (stat,), reason, Usage(8, 0, index + 1), version)


def make(node: NodeSettings, adapters: Mapping[str, AdapterSource], first_s: float, hold_s: float) -> KnownEngine:
    """With the node's rows and waiting places."""
    return KnownEngine(node.model, dict.fromkeys(adapters, "v1"), node.max_rows, node.max_waiting, first_s, hold_s)


async def queueing(node: NodeSettings, adapters: Mapping[str, AdapterSource], threads: int) -> KnownEngine:
    """See `serve_app.engines.backends`."""
    return make(node, adapters, FIRST_S, HOLD_S)


async def instant(node: NodeSettings, adapters: Mapping[str, AdapterSource], threads: int) -> KnownEngine:
    """See `serve_app.engines.backends`."""
    return make(node, adapters, 0.0, 0.0)
