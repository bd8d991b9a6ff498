"""What stands behind each model name: a choice of adapter, and something that answers."""

from collections.abc import AsyncGenerator, Mapping
from typing import Protocol

from serve_app.config import RoutesSettings
from serve_app.core import Delta, EngineError, Query, RetryLater, Router, RouteScore
from serve_app.patterns.answerers import Answerer
from serve_app.patterns.failover import because
from serve_app.patterns.looks import Look
from serve_app.patterns.trace import Trace
from serve_app.patterns.versions import AdapterVersions
from serve_app.telemetry import route_attributes


class Pattern(Protocol):
    """One name in /v1/models. Call `prepare` once, then `run` for each choice."""

    async def prepare(self, query: Query, trace: Trace) -> None:
        """Do what the choices share, such as routing; notes the route in `trace`."""
        ...

    def run(self, query: Query, trace: Trace, choice_index: int) -> AsyncGenerator[Delta]:
        """Stream one choice."""
        ...


class Fixed:
    """The caller chose: a named adapter, or the bare model."""

    def __init__(self, answerer: Answerer, adapter: str | None) -> None:
        self._answerer, self._adapter = answerer, adapter

    async def prepare(self, query: Query, trace: Trace) -> None:
        """Nothing is shared."""

    def run(self, query: Query, trace: Trace, choice_index: int) -> AsyncGenerator[Delta]:
        """Answer with the adapter of this name."""
        return self._answerer.answer(query, trace, self._adapter, choice_index)


class Routed:
    """The router chooses: label -> adapter by configuration."""

    def __init__(
        self,
        answerer: Answerer,
        router: Router,
        routes: RoutesSettings,
        adapters: AdapterVersions,
        router_model: str = "router",
        by_label: Mapping[str, Answerer] | None = None,
    ) -> None:
        """`adapters`: those that are there; `router_model` names the router's encoder in accounts.

        `by_label`: labels that another answerer than `answerer` answers.
        """
        self._by_label = by_label or {}
        self._answerer, self._router, self._routes, self._adapters = answerer, router, routes, adapters
        self._look: Look[RouteScore] = Look(
            node="router",
            model=router_model,
            step="route",
            within_s=routes.router_timeout_s,
            setting="routes.router_timeout_s",
            attributes=route_attributes,
            late=EngineError,
        )

    async def prepare(self, query: Query, trace: Trace) -> None:
        """Score the conversation once for all choices; a router that fails is as if there were none, where so set.

        Raises what the router raised where `routes.when_router_fails` is `fail`.
        """
        try:
            trace.route = await self._look.ask(lambda: self._router.score(query.conversation), trace)
        except (EngineError, RetryLater) as error:
            if self._routes.when_router_fails == "fail":
                raise
            trace.degraded("router_failed", because("the router", error))

    def run(self, query: Query, trace: Trace, choice_index: int) -> AsyncGenerator[Delta]:
        """Answer with the adapter of the route; where it is gone with that of the default, or with none."""
        label = trace.route.label if trace.route else None
        if label is not None and label in self._by_label:
            return self._by_label[label].answer(query, trace, None, choice_index)
        adapter = self._routes.adapter_for(label)
        if not self._is_there(adapter):
            trace.degraded("adapter_gone", f"route {label!r} names adapter {adapter!r}, which is not served")
            adapter = self._routes.adapter_for(None)
            adapter = adapter if self._is_there(adapter) else None
        return self._answerer.answer(query, trace, adapter, choice_index)

    def _is_there(self, adapter: str | None) -> bool:
        return adapter is None or adapter in self._adapters.names
