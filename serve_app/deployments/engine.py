"""The engine deployment: bound as `Specialists` and as `Fallback`.

It adds seven things to an engine: a replica to live in, loopback, a health check, a stream that ends the engine's row
when the caller goes away, a meter for autoscaling, Ray's metrics for the figures of an engine that keeps some, and the
adapters that the registry has, of which it also tells who routes. An engine step runs in the engine's own thread, never
on the replica's loop.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any, cast

from ray import serve
from ray.serve.handle import DeploymentHandle

from serve_app.config.nodes import AdapterSource, NodeSettings
from serve_app.config.telemetry import TelemetrySettings
from serve_app.core import Call, Delta, EngineError, EngineInfo, Group, HeadraceError, MemberDelta, Usage
from serve_app.deployments.affinity import routing_stats
from serve_app.deployments.background import Background
from serve_app.deployments.following import Followed, Following
from serve_app.deployments.lag import Measured
from serve_app.deployments.logs import log_to_replica
from serve_app.deployments.loopback import bind_to_node
from serve_app.deployments.ray_metrics import RayInstruments, keep_sampling
from serve_app.engines.backends import backend
from serve_app.engines.following import FollowState
from serve_app.engines.groups import as_group_engine, part_of_group
from serve_app.engines.trial import VersionedEngine
from serve_app.engines.versions import AdapterHost
from serve_app.scaling import LoadMeter
from serve_app.streams import merged
from serve_app.telemetry import TracedEngine, make_tracer
from serve_app.telemetry.counting import Sampler
from serve_app.telemetry.instruments import Instrumented, at_node


class EngineServer(Measured):
    """One replica of one engine node."""

    async def __init__(  # type: ignore[misc]
        self,
        node: NodeSettings,
        adapters: Mapping[str, AdapterSource],
        threads: int,
        telemetry: TelemetrySettings,
        name: str,
        ledger: DeploymentHandle | None = None,
        following: Following | None = None,
    ) -> None:
        """Serve awaits this. `node.engine` names the backend; `threads` are the replica's compute threads.

        `name`: `specialists` or `fallback`, for traces and figures. With a ledger the replica follows its registry and
        is ready when it serves what that has; an engine that does not hold its adapters itself follows nobody.

        Raises CatalogueError or AdapterError when model or adapters cannot be used.
        """
        bind_to_node()
        log_to_replica()
        engine = await backend(node.engine)(node, adapters, threads)
        traced, groups = telemetry.traces != "off", as_group_engine(engine)
        self._engine = TracedEngine(groups, make_tracer(telemetry, name), name) if traced else groups
        self._meter = LoadMeter()
        self._background = Background()
        self._adapters: Followed | None = None
        if ledger is not None and following is not None and isinstance(engine, AdapterHost):
            self._adapters = Followed(cast(VersionedEngine, engine), ledger, following, adapters)
            await self._adapters.begin()
            self._background.start(self._adapters.follower.run())
        if watched := [one for one in (engine, self._adapters) if isinstance(one, Instrumented)]:
            sampler = Sampler(RayInstruments(serve.get_replica_context().replica_id.unique_id))
            for one in watched:
                sampler.watch(at_node(name, one))
            self._background.start(keep_sampling(sampler))

    async def generate(self, call: Call) -> AsyncIterator[tuple[Delta, ...]]:
        """The engine's deltas, all that are there in one message; what core.Engine raises."""
        async with aclosing(merged([self._deltas(call)])) as bundles:
            async for bundle in bundles:
                yield bundle

    async def _deltas(self, call: Call) -> AsyncGenerator[Delta]:
        load = _Metered(self._meter)
        try:
            if self._adapters is not None:
                call = await self._adapters.found(call)
            async with aclosing(cast(AsyncGenerator[Delta], self._engine.generate(call))) as deltas:
                async for delta in deltas:
                    load.saw(delta)
                    yield delta
        finally:
            load.end()

    async def generate_group(self, group: Group) -> AsyncIterator[tuple[MemberDelta, ...]]:
        """What `core.GroupEngine` gives, as much at a time as there is: a step of the engine is one message.

        It begins once the adapters of all members are here, or cannot be had.
        """
        loads = {member: _Metered(self._meter) for member in range(len(group.calls))}
        try:
            group, refused = await self._found(group)
            if refused:
                yield refused
            members = tuple(sorted(loads.keys() - {one.member for one in refused}))
            async with aclosing(merged([part_of_group(self._engine, group, members)])) as bundles:
                async for bundle in bundles:
                    for one in bundle:
                        if one.delta is not None:
                            loads[one.member].saw(one.delta)
                    yield bundle
        finally:
            for load in loads.values():
                load.end()

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Serve reads this where the deployment autoscales; `deployments.scaling` makes targets of it."""
        return self._meter.stats()

    async def record_routing_stats(self) -> dict[str, Any]:
        """Serve reads this for whoever routes; see `deployments.affinity`."""
        return routing_stats(await self._engine.info())

    async def info(self) -> EngineInfo:
        """The engine's state."""
        return await self._engine.info()

    async def trial(self, digest: str, base_override: bool = False) -> dict[str, Any]:
        """What a version in the artefact store answers; see `engines.trial`. Raises AdapterError or EngineError."""
        if self._adapters is None:
            raise EngineError("these replicas follow no registry, so that no version can be tried on them.")
        return await self._adapters.trial(digest, base_override)

    async def adapters(self) -> FollowState | None:
        """How far this replica follows the registry; None: it follows none."""
        return self._adapters.follower.state if self._adapters is not None else None

    async def check_health(self) -> None:
        """Serve replaces the replica when the engine no longer answers."""
        self._background.check()
        await self._engine.info()

    async def _found(self, group: Group) -> tuple[Group, tuple[MemberDelta, ...]]:
        """The group, once the adapters of its members are here, and the errors of those whose are not."""
        if self._adapters is None:
            return group, ()
        found = await asyncio.gather(*(self._adapters.found(call) for call in group.calls), return_exceptions=True)
        calls, refused = list(group.calls), []
        for member, outcome in enumerate(found):
            if isinstance(outcome, Call):
                calls[member] = outcome
            elif isinstance(outcome, HeadraceError) and not group.lock_step:
                refused.append(MemberDelta(member, error=outcome))
            else:
                raise outcome
        return replace(group, calls=tuple(calls)), tuple(refused)


class _Metered:
    """One call in the meter, from its arrival on."""

    def __init__(self, meter: LoadMeter) -> None:
        self._meter, self._ticket, self._usage = meter, meter.begin(), Usage()

    def saw(self, delta: Delta) -> None:
        """It goes on."""
        self._meter.first(self._ticket)
        self._usage = delta.usage

    def end(self) -> None:
        """It ended, however it ended."""
        usage = self._usage
        self._meter.end(self._ticket, usage.prompt_tokens - usage.cached_tokens, usage.completion_tokens)
