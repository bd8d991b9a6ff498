"""The ingress deployment: the gateway's FastAPI app and the patterns, in a replica.

It adds six things: handles in the place of nodes, loopback, `user_config`, a probe of every node, a meter for
autoscaling, and the end: what is recorded when the replica stops is sent off first.
"""

import asyncio
import gc
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from pydantic import ValidationError
from ray.serve.handle import DeploymentHandle

from serve_app.cache.policy import read as read_cache_policy
from serve_app.config import Settings, describe
from serve_app.config.ledger import JournalSettings, LedgerSettings
from serve_app.config.prices import PricesSettings
from serve_app.core import ConfigError, DataError, JournalFull, LedgerError, Query
from serve_app.deployments.background import Background
from serve_app.deployments.handles import EngineHandle, LedgerHandle, RouterHandle, VectorHandle
from serve_app.deployments.lag import Measured
from serve_app.deployments.logs import log_to_replica
from serve_app.deployments.loopback import bind_to_node
from serve_app.deployments.metered import MeteredMetrics
from serve_app.deployments.orphans import Orphans
from serve_app.deployments.probe import NodeProbe
from serve_app.deployments.ray_metrics import RayInstruments, keep_sampling
from serve_app.gateway import Services, Tunables, comparison, create_app, new_gateway_id
from serve_app.ledger import PriceBook, Recorder
from serve_app.ledger.journal import Journal
from serve_app.patterns import CascadeControl, Node, PatternTable
from serve_app.patterns.shadow import ShadowReport
from serve_app.scaling import EscalationMeter
from serve_app.telemetry import QueryLog, make_tracer

_DRAIN_STEP_S = 0.02
_LEARN_EVERY_S = 5.0
_KEYS_WITHIN_S = 10.0
"""How long a new replica waits for the stored keys: while the ledger is away, the others answer."""
_LOG = logging.getLogger("ray.serve")  # what ends up in the replica's log file


class GatewayServer(Measured):
    """One replica of the HTTP side."""

    def __init__(
        self,
        settings: Settings,
        journals: str,
        specialists: DeploymentHandle,
        ledger: DeploymentHandle,
        router: DeploymentHandle | None = None,
        fallback: DeploymentHandle | None = None,
    ) -> None:
        """A graph without router or fallback serves fewer model names. `journals`: a folder on this node.

        Raises ConfigError on a missing price, and LedgerError where no journal can be made.
        """
        bind_to_node()
        log_to_replica()
        gateway_id = new_gateway_id()
        small = EngineHandle(specialists, "specialists")
        large = EngineHandle(fallback, "fallback") if fallback else None
        router_node = RouterHandle(router) if router else None
        self._ledger = LedgerHandle(ledger)
        small_node = Node("specialists", settings.specialists.model, small)
        large_node = Node("fallback", settings.fallback.model, large) if large else None
        control = (
            CascadeControl(small_node, large_node, settings.cascade, comparison, self._shadowed, self)
            if large_node
            else None
        )
        adapters = tuple(settings.adapters)
        self._meter = EscalationMeter()
        self._services = Services(
            settings=settings,
            table=PatternTable(
                small_node, adapters, settings.routes, router_node, large_node, control, settings.router.encoder
            ),
            prices=PriceBook(settings.prices, settings.fallback.model, (settings.specialists.model,)),
            recorder=_recorder(settings.ledger, self._ledger, journals, gateway_id),
            ledger=self._ledger,
            probe=NodeProbe(small, large, router_node, self._ledger),
            metrics=MeteredMetrics(self._meter, control, RayInstruments(gateway_id)),
            control=control,
            engines={"specialists": small} | ({"fallback": large} if large else {}),
            vectors=_vectors(settings, router),
            tracer=make_tracer(settings.telemetry),
            query_log=QueryLog(settings.telemetry, _LOG),
            gateway_id=gateway_id,
        )
        self._orphans = Orphans(Path(journals), self._ledger, self._ledger.reclaim, self._services.metrics.lost)
        self._configured = False
        self._unkept: PricesSettings | None = None
        """Price versions in force that the ledger has still to keep."""
        self._background = Background()

    async def may_escalate(self, query: Query) -> bool:
        """`patterns.Guard`: the cascade is made before the budgets that it asks."""
        return await self._services.purse.may_escalate(query)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Serve calls this in the replica: no app is made, or pickled, at import."""
        return create_app(self._services)

    async def reconfigure(self, user_config: Mapping[str, Any]) -> None:
        """Take new tunables; queries in flight go on. A replica that starts with bad ones raises ConfigError.

        One that runs refuses them with an error in its log and keeps the old ones: Serve answers an exception here by
        stopping every gateway.
        """
        try:
            await self._take(_tunables(user_config))
        except ConfigError as error:
            if not self._configured:
                raise
            _LOG.error("The new user_config is refused, the old one stays in force. %s", error)
        self._configured = True
        if not self._background.started:
            await self._services.keys.begin(_KEYS_WITHIN_S)
            self._background.start(self._orphans.run(), keep_sampling(self._services.metrics), self._learn())
            gc.collect()
            gc.freeze()  # what a start makes stays: a collection that looks at all of it stops every query for 50 ms

    async def _take(self, tunables: Tunables) -> None:
        """Raises ConfigError, also for a price version that the ledger knows with other prices."""
        if self._configured:  # the ledger itself has kept the prices that the graph began with
            self._unkept = tunables.prices
            await self._keep_prices()
        self._services.reconfigure(tunables)

    async def _keep_prices(self) -> None:
        """Hand new price versions to the ledger; while it is away, they are handed over later."""
        if self._unkept is None:
            return
        try:
            await self._ledger.keep_prices(self._unkept)
        except LedgerError as error:
            _LOG.warning("The ledger does not keep the new price version yet: %s", error)
        except ConfigError:
            self._unkept = None
            raise
        else:
            self._unkept = None

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Serve reads this where the gateway has an `autoscaling_config`: the fallback is scaled by it."""
        return self._meter.stats()

    async def check_health(self) -> None:
        """Serve replaces the replica when its background work has died."""
        self._background.check()

    async def _learn(self) -> None:
        while True:
            await self._services.learn()
            try:
                await self._keep_prices()
            except ConfigError as error:
                _LOG.error("Queries are billed by a price version that the ledger refuses. %s", error)
            await asyncio.sleep(_LEARN_EVERY_S)

    async def drain(self) -> None:
        """Wait for the queries in flight, then send off their accounts. The launcher calls this before it stops."""
        while self._services.in_flight.num_queries:  # noqa: ASYNC110  the count has no event
            await asyncio.sleep(_DRAIN_STEP_S)
        await self._services.stop_shadows()
        await self._services.recorder.flush()

    async def close(self) -> None:
        """Send off what is recorded and take no more. Raises LedgerError saying how many accounts are not saved."""
        await self._background.stop()
        await self._services.close()

    def _shadowed(self, report: ShadowReport) -> None:
        self._services.shadowed(report)


class GatewayReplica(GatewayServer):
    """What Serve runs: `__del__` is its only hook for the end. It awaits it; Python, elsewhere, would not."""

    async def __del__(self) -> None:
        await self.close()


def _recorder(settings: LedgerSettings, ledger: LedgerHandle, journals: str, gateway_id: str) -> Recorder:
    return Recorder(
        ledger,
        _journal(settings.journal, journals, gateway_id),
        flush_ms=settings.flush_ms,
        max_batch=settings.max_batch,
        durability=settings.durability,
        replicate_timeout_s=settings.replicate_timeout_s,
        when_full=settings.journal.when_full,
    )


def _journal(settings: JournalSettings, journals: str, gateway_id: str) -> Journal | None:
    """None where the disk is full from the start and queries shall be served all the same."""
    try:
        return Journal.open(Path(journals), gateway_id, segment_mb=settings.segment_mb, max_mb=settings.max_mb)
    except JournalFull as error:
        if settings.when_full == "refuse":
            raise
        _LOG.error("Accounts are kept in memory only: %s", error)
        return None


def _vectors(settings: Settings, router: DeploymentHandle | None) -> VectorHandle | None:
    """Where the semantic cache has its vectors from; None: it is off, or the graph has no router."""
    policy = settings.cache.semantic.policy
    if not settings.cache.enabled or policy is None or router is None:
        return None
    try:
        return VectorHandle(router, read_cache_policy(Path(policy)).encoder_digest)
    except DataError as error:
        raise ConfigError(f"cache.semantic.policy: {error}") from error


def _tunables(user_config: Mapping[str, Any]) -> Tunables:
    """Raises ConfigError naming the key."""
    try:
        tunables = Tunables.model_validate(dict(user_config))
    except ValidationError as error:
        raise ConfigError(f"user_config: {describe(error)}") from error
    policy = tunables.cascade.policy if tunables.cascade else None
    if policy is not None and not Path(policy).is_absolute():
        raise ConfigError(
            f"user_config: cascade.policy is {policy!r}, and a replica has a working directory of its own: give the "
            "file's absolute path."
        )
    return tunables
