"""What a gateway needs from outside, given to it once. Built by a deployment, or by a test from fakes."""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from pydantic import Field
from starlette.requests import Request

from serve_app.adapters.registry.records import RegistrySnapshot
from serve_app.adapters.registry.routing import Routing
from serve_app.budgets import BudgetBook, LeaseSource
from serve_app.cache import Fingerprint, IdempotentAnswers, Lookup, ResponseCache, VectorSource
from serve_app.config import CascadeSettings, Settings
from serve_app.config.budgets import BudgetsSettings
from serve_app.config.prices import PricesSettings
from serve_app.config.section import Section
from serve_app.config.telemetry import TelemetrySettings
from serve_app.core import Engine, HeadraceError, Ledger, Query
from serve_app.gateway.adapters.book import AdapterBook
from serve_app.gateway.adapters.canaries import Canaries
from serve_app.gateway.adapters.publish import Publisher, RegistryNode
from serve_app.gateway.adapters.routing import RoutingBook, routes_of
from serve_app.gateway.capture import Capture, TextSink
from serve_app.gateway.documents import DocumentsNode
from serve_app.gateway.guarantee import shadow_verdict
from serve_app.gateway.ids import new_gateway_id
from serve_app.gateway.in_flight import InFlight
from serve_app.gateway.metrics import Metrics
from serve_app.gateway.purse import Purse, Terms
from serve_app.gateway.readings import (
    admission_readings,
    budget_readings,
    cache_readings,
    recorder_readings,
    text_readings,
)
from serve_app.keys import KeptKeys, Key, KeyRing, KeySource
from serve_app.ledger import PriceBook, Recorder
from serve_app.patterns import CascadeControl, Pattern, PatternTable
from serve_app.patterns.shadow import ShadowReport
from serve_app.telemetry import NullTracer, QueryLog, Tracer

_LOG = logging.getLogger("headrace.queries")
_INFO_TIMEOUT_S = 5.0
"""What an engine that hangs may hold up what the response cache learns of the others."""

Probe = Callable[[], Awaitable[Mapping[str, str]]]
"""Asks every node for a sign of life: node name -> "ok", "cold" (stopped on purpose), or one sentence why not."""


class Tunables(Section):
    """What may change while queries run; a section that is left out keeps its settings."""

    cascade: CascadeSettings | None = Field(None, description="When to escalate.")
    prices: PricesSettings | None = Field(None, description="What tokens cost from now on: a new price version.")
    budgets: BudgetsSettings | None = Field(None, description="What may be spent; what was spent in a window stays.")


class LedgerNode(Ledger, LeaseSource, KeySource, TextSink, Protocol):
    """All that a gateway asks of the ledger's deployment."""


@dataclass
class Services:
    """The collaborators of one gateway replica. All are used from one event loop."""

    settings: Settings
    table: PatternTable
    prices: PriceBook
    recorder: Recorder
    ledger: LedgerNode
    probe: Probe
    metrics: Metrics
    control: CascadeControl | None = None
    """None: the graph has no cascade."""
    engines: Mapping[str, Engine] = field(default_factory=dict)
    """Node name -> engine, for what it says of itself."""
    vectors: VectorSource | None = None
    """Sentence vectors for the semantic cache; None: the graph has no encoder."""
    tracer: Tracer = field(default_factory=NullTracer)
    query_log: QueryLog = field(default_factory=lambda: QueryLog(TelemetrySettings(), _LOG))
    kept_keys: KeptKeys | None = None
    """The copy of the stored keys on this node's disk."""
    book: AdapterBook | None = None
    """What is known of the adapter registry; None: there is none, and the adapters stay as they are."""
    canaries: Canaries | None = None
    """Of the registry's adapters; None: there is none."""
    registry: RegistryNode | None = None
    """The adapter registry, for its admin pages; None: there is none."""
    routing: RoutingBook | None = None
    """Routes and router that may be replaced; None: they are those of the settings."""
    publisher: Publisher | None = None
    """Takes new adapters in; None: no engine can try one."""
    documents: DocumentsNode | None = None
    """The retriever, for its pages; None: the graph has none."""
    gateway_id: str = field(default_factory=new_gateway_id)
    in_flight: InFlight = field(init=False)
    keys: KeyRing = field(init=False)
    budgets: BudgetBook = field(init=False)
    purse: Purse = field(init=False)
    fingerprint: Fingerprint = field(init=False)
    cache: ResponseCache = field(init=False)
    idempotent: IdempotentAnswers = field(init=False)
    capture: Capture = field(init=False)
    began_s: int = field(init=False, default_factory=lambda: int(time.time()))
    """When the gateway started, in seconds since the epoch."""
    checking: asyncio.Lock = field(init=False, default_factory=asyncio.Lock)
    """Held while the checklist runs: one run at a time."""
    _warm: dict[str, tuple[str, ...]] = field(init=False, default_factory=dict)
    """Node -> its adapters that sample, as it last said."""
    _num_rules: int = field(init=False, default=0)
    """How often the cascade's settings were taken."""

    def __post_init__(self) -> None:
        """Raises ConfigError where the cache's policy or the redaction of texts cannot be used."""
        settings = self.settings
        self.in_flight = InFlight(settings.gateway)
        self.keys = KeyRing(settings, self.ledger, self.kept_keys)
        self.budgets = BudgetBook(self.ledger, settings.budgets, self.gateway_id)
        self.purse = Purse(self.budgets, lambda: Terms(self.settings, self.prices, self.table.routes))
        self.fingerprint = Fingerprint(settings)
        self.cache = ResponseCache(settings.cache, self.vectors, greedy_by_default=self.fingerprint.greedy_by_default)
        self.idempotent = IdempotentAnswers()
        self.capture = Capture(settings.ledger.texts, self.ledger)
        self.metrics.watch(lambda: admission_readings(self.in_flight))
        self.metrics.watch(lambda: recorder_readings(self.recorder))
        self.metrics.watch(lambda: text_readings(self.capture))
        self.metrics.watch(lambda: budget_readings(self.budgets.report(), self.budgets.num_overrun))
        self.metrics.watch(lambda: cache_readings(self.cache.report(), self.idempotent.num_repeated))
        if self.book is not None:
            self.metrics.watch(self.book.readings)
            self.book.watch(self._adapters_changed)
        if self.book is not None and self.canaries is not None:
            self.metrics.watch(self.canaries.readings)
            self.book.watch(self.canaries.gatherer.follow)
        if self.routing is not None:
            self.routing.watch(self._routing_changed)

    def find(self, model: str, key: Key | None) -> Pattern:
        """The pattern of a model name. Raises ModelNotFound, and NotPermitted where the key's list does not have it."""
        if key is not None:
            key.check_model(model)
        return self.table.find(model)

    def lookup(
        self, query: Query, num_choices: int, key: Key | None, tried: Mapping[str, str] | None = None
    ) -> Lookup | None:
        """Where the response cache would have the answer; None: this query is always generated, as with passages.

        `tried`: adapters with a canary, and the version that answers the conversation. What the canary said is found by
        conversations of the canary only, and the live version's answers by the others.
        """
        if query.model == "rag":
            return None
        fingerprint = self.fingerprint.value
        if tried:
            fingerprint += json.dumps(tried, sort_keys=True)
        return self.cache.lookup(query, num_choices, fingerprint, key.models if key else None)

    def reconfigure(self, tunables: Tunables) -> None:
        """Take new settings. Queries in flight keep the cascade rule they began with, and are billed at the new price.

        Raises ConfigError, and changes nothing, when the new prices lack a model that is served, or the policy or
        scorer of the cascade cannot be used. A policy file is read again only where there is a section `cascade`.
        """
        cascade = tunables.cascade or self.settings.cascade
        prices = tunables.prices or self.settings.prices
        book = PriceBook(prices, self.settings.fallback.model, (self.settings.specialists.model,))
        if tunables.cascade:
            self.table.reconfigure(cascade)
            if self.canaries:
                self.canaries.reconfigure(cascade.watch)
            self._num_rules += 1  # the policy file may hold another policy by now, under the same name
            self.fingerprint.set("cascade", [self._num_rules, cascade.model_dump(mode="json")])
        budgets = tunables.budgets or self.settings.budgets
        self.budgets.reconfigure(budgets)
        self.prices = book
        self.settings = self.settings.model_copy(update={"cascade": cascade, "prices": prices, "budgets": budgets})

    async def learn(self) -> None:
        """See what the response cache has to know: which adapter versions serve, which adapters sample, which rule.

        What other versions answered, or a rule before a breach accepted, is then not given again. The budgets hear how
        long adapters answer. Of an engine that does not answer, what it last said counts.
        """
        for node, engine in self.engines.items():
            try:
                async with asyncio.timeout(_INFO_TIMEOUT_S):
                    info = await engine.info()
            except (HeadraceError, TimeoutError) as error:
                _LOG.info("%s does not say what it serves: %s", node, str(error) or "no answer")
                continue
            self.fingerprint.serves(node, info)
            self._warm[node] = info.warm_adapters
            if node == "specialists":
                self.purse.longest_answers = info.longest_answers
        self.cache.warm_adapters = frozenset(name for names in self._warm.values() for name in names)
        self._mark_routing()
        if self.control:
            epochs = {str(route): report.epoch for route, report in self.control.report().items()}
            self.fingerprint.set("epochs", epochs)

    def _adapters_changed(self, snapshot: RegistrySnapshot) -> None:
        self.fingerprint.follows({one.name: (one.live, one.canary) for one in snapshot.adapters})
        self.warn_of_routes()

    def _routing_changed(self, routing: Routing) -> None:
        self.table.reroute(routes_of(self.settings.routes, routing))
        self._mark_routing()
        self.warn_of_routes()

    def _mark_routing(self) -> None:
        if self.routing is not None:
            self.fingerprint.set("routing", self.routing.mark)

    def warn_of_routes(self) -> None:
        """Say in the log which routes name an adapter that is not there."""
        for label, adapter in self.missing_routes().items():
            _LOG.warning(
                "Route %r names adapter %r, which is not served: its queries use the default until it is added.",
                label,
                adapter,
            )

    def missing_routes(self) -> dict[str, str]:
        """Label, or `default`, -> the adapter that it names and that is not there."""
        routes, names = self.table.routes, self.table.adapters.names
        named = {**routes.adapters, "default": routes.default}
        return {label: adapter for label, adapter in named.items() if adapter != "base" and adapter not in names}

    def shadowed(self, report: ShadowReport) -> None:
        """Bill a query that was run once more in the background."""
        account = self.prices.price(replace(report.account, gateway=self.gateway_id))
        self.metrics.shadowed(report.kind, account, shadow_verdict(report, self.settings.cascade.watch.agree_at))
        self.recorder.put(account)
        self.purse.shadowed(account)

    async def close(self) -> None:
        """End background work and hand everything over. Raises LedgerError saying how many accounts are not saved."""
        await self.stop_shadows()
        if self.publisher:
            await self.publisher.close()
        await self.capture.close()
        await self.budgets.close()
        await self.keys.close()
        try:
            await self.recorder.close()
        finally:
            await self.tracer.close()

    async def stop_shadows(self) -> None:
        """End background work; what it cost is in the recorder then."""
        if self.control:
            await self.control.close()
        if self.canaries:
            await self.canaries.close()


def services_of(request: Request) -> Services:
    """Those of the app that is asked."""
    found: Services = request.app.state.services
    return found
