"""A gateway follows the routing that is in force: which adapter each label of the router gets."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from serve_app.adapters.registry.routing import Routing, RoutingSource
from serve_app.config import RoutesSettings
from serve_app.snapshots import LastTold

_LOG = logging.getLogger(__name__)

_SETTLES_S = 10.0
"""After a change so long answers may still be routed by a router that was replaced."""


class RoutingNode(RoutingSource, Protocol):
    """The routing, over the ledger's deployment: see `RoutingRegistry`."""

    async def routing_history(self, limit: int) -> tuple[Routing, ...]:
        """The last changes, newest first."""
        ...

    async def routing_apply(self, wanted: Routing, files: Mapping[str, bytes] | None, after: int | None) -> Routing:
        """Put this in force."""
        ...


class RouterTrial(Protocol):
    """One router replica that tries a router's files before they are in force."""

    async def trial(self, files: Mapping[str, bytes]) -> tuple[str, ...]:
        """The router's labels. Raises DataError or ConfigError for files that this replica cannot use, EngineError."""
        ...

    async def artifact_digest(self) -> str:
        """Of the router that answers now. Raises EngineError."""
        ...


class RoutingBook(LastTold):
    """What is in force, as this gateway knows it. For one event loop. While it cannot be read, the last one counts."""

    def __init__(
        self,
        source: RoutingNode,
        trial: RouterTrial | None,
        follow_s: float = 0.5,
        timeout_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`trial`: None where the graph has no router."""
        self.source, self.trial = source, trial
        super().__init__(_LOG, "The routing cannot be read, the last one counts", follow_s, timeout_s, clock)
        self.routing = Routing()
        self._changed_at_s: float | None = None
        self._watchers: list[Callable[[Routing], None]] = []

    @property
    def mark(self) -> list[int]:
        """Stands for what decides routes, in the response cache's fingerprint; changes once more when all replicas
        have surely followed, so that what was answered meanwhile is not given again."""
        settled = self._changed_at_s is None or self._clock() - self._changed_at_s > _SETTLES_S
        return [self.routing.revision, int(settled)]

    def watch(self, watcher: Callable[[Routing], None]) -> None:
        """Call it with every new routing, on the event loop."""
        self._watchers.append(watcher)

    async def refresh(self) -> None:
        """See `LastTold`."""
        before = self.routing
        found = await self._ask(self.source.routing_since(before.revision))
        if found is None:
            return
        if self.routing is before:  # a lower revision counts: the database was restored
            self._go_by(found)
        else:
            self.take(found)

    def take(self, routing: Routing) -> None:
        """Go by this from now on, unless a later one is known: it may have been overtaken on its way."""
        if routing.revision >= self.routing.revision:
            self._go_by(routing)

    def _go_by(self, routing: Routing) -> None:
        if routing == self.routing:
            return
        self.routing, self._changed_at_s = routing, self._clock()
        for watcher in self._watchers:
            watcher(routing)


def routes_of(settings: RoutesSettings, routing: Routing) -> RoutesSettings:
    """The settings' routes with what was applied in their place."""
    changed = {"adapters": routing.routes, "default": routing.fallback}
    return settings.model_copy(update={name: value for name, value in changed.items() if value is not None})
