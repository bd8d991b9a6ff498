"""The engine deployment: bound as `Specialists` and as `Fallback`.

It adds five things to an engine: a replica to live in, loopback, a health check, a stream that ends the engine's row
when the caller goes away, and a meter for autoscaling. An engine step runs in the engine's own thread, never on the
replica's loop.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import cast

from serve_app.config.nodes import AdapterSource, NodeSettings
from serve_app.config.telemetry import TelemetrySettings
from serve_app.core import Call, Delta, EngineInfo, Usage
from serve_app.deployments.lag import Measured
from serve_app.deployments.logs import log_to_replica
from serve_app.deployments.loopback import bind_to_node
from serve_app.engines.backends import backend
from serve_app.scaling import LoadMeter
from serve_app.telemetry import TracedEngine, make_tracer


class EngineServer(Measured):
    """One replica of one engine node."""

    async def __init__(  # type: ignore[misc]
        self,
        node: NodeSettings,
        adapters: Mapping[str, AdapterSource],
        threads: int,
        telemetry: TelemetrySettings,
        name: str,
    ) -> None:
        """Serve awaits this. `node.engine` names the backend; `threads` are the replica's compute threads.

        `name`: `specialists` or `fallback`, for traces.

        Raises CatalogueError or AdapterError when model or adapters cannot be used.
        """
        bind_to_node()
        log_to_replica()
        engine = await backend(node.engine)(node, adapters, threads)
        traced = telemetry.traces != "off"
        self._engine = TracedEngine(engine, make_tracer(telemetry, name), name) if traced else engine
        self._meter = LoadMeter()

    async def generate(self, call: Call) -> AsyncIterator[Delta]:
        """The engine's deltas; what core.Engine raises."""
        ticket, usage = self._meter.begin(), Usage()
        try:
            async with aclosing(cast(AsyncGenerator[Delta], self._engine.generate(call))) as deltas:
                async for delta in deltas:
                    self._meter.first(ticket)
                    usage = delta.usage
                    yield delta
        finally:
            self._meter.end(ticket, usage.prompt_tokens - usage.cached_tokens, usage.completion_tokens)

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Serve reads this where the deployment autoscales; `deployments.scaling` makes targets of it."""
        return self._meter.stats()

    async def info(self) -> EngineInfo:
        """The engine's state."""
        return await self._engine.info()

    async def check_health(self) -> None:
        """Serve replaces the replica when the engine no longer answers."""
        await self._engine.info()
