"""An engine whose calls leave spans in its own replica: what lies between them and the caller's is the way there."""

import time
from collections.abc import AsyncGenerator
from contextlib import ExitStack, aclosing
from types import TracebackType
from typing import Self, cast

from serve_app.core import Call, Delta, EngineInfo, Group, GroupEngine, MemberDelta
from serve_app.telemetry.tracing import AttributeValue, Tracer


class TracedEngine:
    """Implements `core.GroupEngine` over another one. Nothing is kept of a call without a sampled trace context."""

    def __init__(self, engine: GroupEngine, tracer: Tracer, node: str) -> None:
        """`node` as in accounts: `specialists` or `fallback`."""
        self._engine, self._tracer, self._node = engine, tracer, node

    async def generate(self, call: Call) -> AsyncGenerator[Delta]:
        """See `Engine`. The span ends with the answer; one that the caller closes early was cancelled."""
        with _CallSpan(self._tracer, self._node, call) as span:
            async with aclosing(cast(AsyncGenerator[Delta], self._engine.generate(call))) as deltas:
                async for delta in deltas:
                    span.saw(delta)
                    yield delta

    async def generate_group(self, group: Group) -> AsyncGenerator[MemberDelta]:
        """See `GroupEngine`. A span for each member."""
        with ExitStack() as stack:
            spans = [stack.enter_context(_CallSpan(self._tracer, self._node, call)) for call in group.calls]
            async with aclosing(cast(AsyncGenerator[MemberDelta], self._engine.generate_group(group))) as deltas:
                async for one in deltas:
                    if one.delta is not None:
                        spans[one.member].saw(one.delta)
                    if one.error is not None:
                        spans[one.member].failed(one.error)
                    yield one

    async def info(self) -> EngineInfo:
        """See `Engine`."""
        return await self._engine.info()


class _CallSpan:
    """The span of one call: to its last delta, to its error, or else to the end of the context."""

    def __init__(self, tracer: Tracer, node: str, call: Call) -> None:
        said: dict[str, AttributeValue] = {"headrace.node": node, "headrace.call_id": call.call_id}
        self._span = tracer.remote("generate", call.traceparent, said)
        self._started_s = time.perf_counter()
        self._seen: dict[str, AttributeValue] = {}

    def __enter__(self) -> Self:
        return self

    def saw(self, delta: Delta) -> None:
        """It goes on, or ends well."""
        self._seen.setdefault("gen_ai.response.time_to_first_chunk", time.perf_counter() - self._started_s)
        if delta.finish_reason is not None:
            self._seen["headrace.busy_s"] = delta.usage.busy_s
            self._seen["gen_ai.response.finish_reasons"] = (delta.finish_reason,)
            self._end("finished")

    def failed(self, error: Exception) -> None:
        """It ends badly."""
        self._end("failed", type(error).__name__)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, Exception):
            self.failed(error)
        self._end("cancelled")

    def _end(self, outcome: str, error: str | None = None) -> None:
        """Only the first one counts."""
        self._span.end({**self._seen, "headrace.outcome": outcome}, error)
