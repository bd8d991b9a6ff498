"""What stands behind each model name: a choice of adapter, and something that answers."""

from collections.abc import AsyncGenerator
from typing import Protocol

from serve_app.config import RoutesSettings
from serve_app.core import Delta, Query, Router
from serve_app.patterns.answerers import Answerer
from serve_app.patterns.trace import Trace


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

    def __init__(self, answerer: Answerer, router: Router, routes: RoutesSettings) -> None:
        self._answerer, self._router, self._routes = answerer, router, routes

    async def prepare(self, query: Query, trace: Trace) -> None:
        """Score the conversation once for all choices."""
        trace.route = await self._router.score(query.conversation)

    def run(self, query: Query, trace: Trace, choice_index: int) -> AsyncGenerator[Delta]:
        """Answer with the adapter of the route."""
        adapter = self._routes.adapter_for(trace.route.label) if trace.route else None
        return self._answerer.answer(query, trace, adapter, choice_index)
