"""An engine whose calls leave spans in its own replica: what lies between them and the caller's is the way there."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast

from serve_app.core import Call, Delta, Engine, EngineInfo
from serve_app.telemetry.tracing import AttributeValue, Tracer


class TracedEngine:
    """Implements `core.Engine` over another one. Nothing is kept of a call that comes with no sampled trace context."""

    def __init__(self, engine: Engine, tracer: Tracer, node: str) -> None:
        """`node` as in accounts: `specialists` or `fallback`."""
        self._engine, self._tracer, self._node = engine, tracer, node

    async def generate(self, call: Call) -> AsyncGenerator[Delta]:
        """See `Engine`. The span ends with the stream; one that the caller closes early was cancelled."""
        said: dict[str, AttributeValue] = {"headrace.node": self._node, "headrace.call_id": call.call_id}
        span = self._tracer.remote("generate", call.traceparent, said)
        started_s, error = time.perf_counter(), None
        end: dict[str, AttributeValue] = {"headrace.outcome": "cancelled"}
        try:
            async with aclosing(cast(AsyncGenerator[Delta], self._engine.generate(call))) as deltas:
                async for delta in deltas:
                    end.setdefault("gen_ai.response.time_to_first_chunk", time.perf_counter() - started_s)
                    if delta.finish_reason is not None:
                        end |= {
                            "headrace.outcome": "finished",
                            "headrace.busy_s": delta.usage.busy_s,
                            "gen_ai.response.finish_reasons": (delta.finish_reason,),
                        }
                    yield delta
        except Exception as caught:
            error = type(caught).__name__
            end["headrace.outcome"] = "failed"
            raise
        finally:
            span.end(end, error)

    async def info(self) -> EngineInfo:
        """See `Engine`."""
        return await self._engine.info()
