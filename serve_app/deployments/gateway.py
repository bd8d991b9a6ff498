"""The ingress deployment: the gateway's FastAPI app and the patterns, in a replica.

It adds seven things: handles in the place of nodes, loopback, `user_config`, a probe of every node, a meter for
autoscaling, a watch over a fallback that may have no replica, and the end: what is recorded when the replica stops is
sent off first.
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

from serve_app.adapters.registry.artefacts import open_artefacts
from serve_app.adapters.registry.kept import KeptSnapshot
from serve_app.cache.policy import read as read_cache_policy
from serve_app.config import Settings, describe
from serve_app.config.ledger import JournalSettings, LedgerSettings
from serve_app.config.prices import PricesSettings
from serve_app.core import ConfigError, DataError, Engine, JournalFull, LedgerError, Query
from serve_app.deployments.background import Background
from serve_app.deployments.cold import waking, watch
from serve_app.deployments.documents import RetrieverHandle
from serve_app.deployments.handles import EngineHandle, LedgerHandle, RouterHandle, RouterTrialHandle, VectorHandle
from serve_app.deployments.lag import Measured
from serve_app.deployments.logs import log_to_replica
from serve_app.deployments.loopback import bind_to_node
from serve_app.deployments.metered import MeteredMetrics
from serve_app.deployments.orphans import Orphans
from serve_app.deployments.paths import folder_here
from serve_app.deployments.probe import NodeProbe
from serve_app.deployments.ray_metrics import RayInstruments, keep_sampling
from serve_app.gateway import (
    AdapterBook,
    Canaries,
    Publisher,
    RoutingBook,
    Services,
    Tunables,
    comparison,
    create_app,
    new_gateway_id,
)
from serve_app.keys import KeptKeys
from serve_app.ledger import PriceBook, Recorder
from serve_app.ledger.journal import Journal
from serve_app.patterns import CascadeControl, DocumentSearch, Node, Patience, PatternTable
from serve_app.patterns.shadow import ShadowReport
from serve_app.patterns.warmth import Waking, WakingEngine
from serve_app.scaling import EscalationMeter
from serve_app.telemetry import QueryLog, make_tracer

_DRAIN_STEP_S = 0.02
_LEARN_EVERY_S = 5.0
_KEYS_WITHIN_S = 10.0
"""How long a new replica waits for the stored keys where no copy of them is at hand: meanwhile the others answer."""
_REGISTRY_WITHIN_S = 2.0
"""How long a new replica waits for the adapter registry before it serves what the settings name."""
_GRACE = 2 / 3
"""Of the time that engines keep a version that left the registry: for so long a query that has it may ask again."""
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
        retriever: DeploymentHandle | None = None,
    ) -> None:
        """A graph without router, fallback or retriever serves fewer model names. `journals`: a folder on each node.

        Raises ConfigError on a missing price, and LedgerError where no journal can be made.
        """
        bind_to_node()
        log_to_replica()
        gateway_id = new_gateway_id()
        small = EngineHandle(specialists, "specialists")
        self._meter = EscalationMeter()
        self._watched = watch(settings, fallback)
        may_sleep = waking(settings, self._watched, self._meter.withheld)
        large = _large(fallback, may_sleep)
        router_node = RouterHandle(router) if router else None
        documents = RetrieverHandle(retriever) if retriever else None
        self._ledger = LedgerHandle(ledger)
        patience = Patience(settings.gateway.first_token_timeout_s, settings.gateway.silence_timeout_s)
        retries = settings.gateway.retries
        kept = KeptSnapshot(folder_here(journals) / "adapters.json")
        book = AdapterBook(
            tuple(settings.adapters),
            self._ledger,
            settings.registry.follow_s,
            kept=kept,
            grace_s=_GRACE * settings.registry.drop_after_s,
        )
        small_node = Node("specialists", settings.specialists.model, small, retries, patience=patience, adapters=book)
        large_node = Node("fallback", settings.fallback.model, large, retries, may_sleep, patience) if large else None
        control = (
            CascadeControl(small_node, large_node, settings.cascade, comparison, self._shadowed, self)
            if large_node
            else None
        )
        self._canaries = Canaries(
            settings, gateway_id, self._ledger, small_node, large_node, control, comparison, self._shadowed
        )
        trial = RouterTrialHandle(router) if router else None
        self._routing = RoutingBook(self._ledger, trial, settings.registry.follow_s)
        search = DocumentSearch(documents, settings, has_large=large_node is not None) if documents else None
        self._services = Services(
            settings=settings,
            table=PatternTable(
                small_node,
                settings.routes,
                router_node,
                large_node,
                control,
                settings.router.encoder,
                search,
                ensemble=settings.ensemble,
            ),
            prices=PriceBook(settings.prices, settings.fallback.model, (settings.specialists.model,)),
            recorder=_recorder(settings.ledger, self._ledger, journals, gateway_id),
            ledger=self._ledger,
            probe=NodeProbe(small, large, router_node, self._ledger, may_sleep, documents),
            metrics=MeteredMetrics(self._meter, control, RayInstruments(gateway_id)),
            control=control,
            engines={"specialists": small} | ({"fallback": large} if large else {}),
            vectors=_vectors(settings, router),
            tracer=make_tracer(settings.telemetry),
            kept_keys=_kept_keys(settings, journals),
            query_log=QueryLog(settings.telemetry, _LOG),
            book=book,
            registry=self._ledger,
            routing=self._routing,
            publisher=_publisher(settings, self._ledger, small),
            canaries=self._canaries,
            documents=documents,
            gateway_id=gateway_id,
        )
        self._book = book
        self._orphans = Orphans(folder_here(journals), self._ledger, self._ledger.reclaim, self._services.metrics.lost)
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
            await self._book.begin(_REGISTRY_WITHIN_S)
            await self._routing.refresh()
            self._background.start(
                self._orphans.run(),
                keep_sampling(self._services.metrics),
                self._learn(),
                self._book.run(),
                self._routing.run(),
            )
            self._background.start(self._canaries.gatherer.run())
            if self._watched:
                self._background.start(self._watched.run())
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


def _large(fallback: DeploymentHandle | None, may_sleep: Waking | None) -> Engine | None:
    if fallback is None:
        return None
    handle = EngineHandle(fallback, "fallback")
    return WakingEngine(handle, may_sleep) if may_sleep else handle


def _publisher(settings: Settings, ledger: LedgerHandle, small: EngineHandle) -> Publisher | None:
    """None where no place for adapters' files was bound."""
    registry = settings.registry
    if registry.store is None:
        return None
    artefacts = open_artefacts(registry, settings.adapters)
    return Publisher(ledger, artefacts, small, registry.max_adapter_mb * 2**20, settings.specialists.max_adapter_rank)


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
        return Journal.open(folder_here(journals), gateway_id, segment_mb=settings.segment_mb, max_mb=settings.max_mb)
    except JournalFull as error:
        if settings.when_full == "refuse":
            raise
        _LOG.error("Accounts are kept in memory only: %s", error)
        return None


def _kept_keys(settings: Settings, journals: str) -> KeptKeys | None:
    """The copy of the stored keys that the gateways of this node share."""
    max_age_s = settings.gateway.kept_keys_s
    return KeptKeys(folder_here(journals) / "keys.json", max_age_s) if max_age_s else None


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
