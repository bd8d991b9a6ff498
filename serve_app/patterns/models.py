"""What stands behind each model name: a choice of adapter, and something that answers."""

import time
from collections.abc import AsyncGenerator
from typing import Protocol

from serve_app.config import RoutesSettings
from serve_app.core import Delta, Outcome, Query, Router
from serve_app.patterns.answerers import Answerer
from serve_app.patterns.trace import Trace
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
        self, answerer: Answerer, router: Router, routes: RoutesSettings, router_model: str = "router"
    ) -> None:
        """`router_model` names the router's encoder in accounts."""
        self._answerer, self._router, self._routes = answerer, router, routes
        self._router_model = router_model

    async def prepare(self, query: Query, trace: Trace) -> None:
        """Score the conversation once for all choices."""
        started_s, busy_s = time.perf_counter(), 0.0
        outcome: Outcome = "cancelled"
        span = trace.span.child("route")
        try:
            trace.route = score = await self._router.score(query.conversation)
            outcome, busy_s = "accepted", score.busy_s
            span.end(route_attributes(score))
        except Exception as error:
            outcome = "failed"
            span.end(error=type(error).__name__)
            raise
        finally:
            span.end()
            elapsed_ms = (time.perf_counter() - started_s) * 1000
            trace.looked("router", "router", self._router_model, outcome, elapsed_ms, busy_s)

    def run(self, query: Query, trace: Trace, choice_index: int) -> AsyncGenerator[Delta]:
        """Answer with the adapter of the route."""
        adapter = self._routes.adapter_for(trace.route.label) if trace.route else None
        return self._answerer.answer(query, trace, adapter, choice_index)
