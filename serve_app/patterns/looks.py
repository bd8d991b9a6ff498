"""Asking a node about a query before anything is generated: the router for its domain, the retriever for passages."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

from serve_app.core import HeadraceError, Outcome, ReplicaLost
from serve_app.patterns.trace import Trace
from serve_app.telemetry.tracing import Attributes


class Told(Protocol):
    """What such a node says."""

    @property
    def busy_s(self) -> float:
        """Seconds that it worked, waiting not included."""
        ...


T = TypeVar("T", bound=Told)


@dataclass(frozen=True, slots=True)
class Look(Generic[T]):
    """How one node is asked: in time, once more where its replica is lost, and billed however it ends."""

    node: Literal["router", "retriever"]
    """Its role in accounts, too."""
    model: str
    """Its encoder, for accounts."""
    step: str
    """Name of its span."""
    within_s: float
    setting: str
    """That says so."""
    attributes: Callable[[T], Attributes]
    """Of the span."""
    late: type[HeadraceError]
    """Raised when it takes longer."""

    async def ask(self, ask: Callable[[], Awaitable[T]], trace: Trace) -> T:
        """What the node says. Raises what it raises, and `late`."""
        try:
            async with asyncio.timeout(self.within_s) as bound:
                try:
                    return await self._once(ask, trace, bound)
                except ReplicaLost:
                    trace.retried.append(self.node)
                    return await self._once(ask, trace, bound)
        except TimeoutError:
            if not bound.expired():
                raise
            raise self.late(f"It did not answer within {self.within_s:g} s ({self.setting}).") from None

    async def _once(self, ask: Callable[[], Awaitable[T]], trace: Trace, bound: asyncio.Timeout) -> T:
        started_s, busy_s = time.perf_counter(), 0.0
        outcome: Outcome = "failed"
        span = trace.span.child(self.step)
        try:
            told = await ask()
            outcome, busy_s = "accepted", told.busy_s
            span.end(self.attributes(told))
            return told
        except asyncio.CancelledError:
            if not bound.expired():
                outcome = "timed_out" if trace.is_late else "cancelled"
            raise
        except Exception as error:
            span.end(error=type(error).__name__)
            raise
        finally:
            span.end()
            elapsed_ms = (time.perf_counter() - started_s) * 1000
            trace.looked(self.node, self.node, self.model, outcome, elapsed_ms, busy_s)
