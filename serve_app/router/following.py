"""A router that is replaced while it is asked: it follows what the ledger's routing names."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Protocol

from serve_app.adapters.registry.routing import RoutingSource
from serve_app.core import HeadraceError, Router
from serve_app.snapshots import LastTold

_LOG = logging.getLogger(__name__)


class RouterSource(RoutingSource, Protocol):
    """Where routers come from: the ledger's deployment."""

    async def routing_files(self, digest: str) -> dict[str, bytes]:
        """The files of a router. Raises RequestError where they are not kept, LedgerError."""
        ...


Load = Callable[[Mapping[str, bytes] | None], Router]
"""A router's files, or None for the router of the settings, -> the router. May block; raises HeadraceError."""


class RouterFollower(LastTold):
    """Holds the router that answers. For one event loop.

    While the ledger is away, or a router cannot be loaded, the one before answers; queries under way keep theirs.
    """

    passing = (HeadraceError, TimeoutError)

    def __init__(self, load: Load, source: RouterSource | None, follow_s: float, timeout_s: float = 5.0) -> None:
        """Loads the router of the settings. Raises what `load` raises. With no source it stays."""
        super().__init__(_LOG, "The router stays as it is", follow_s, timeout_s)
        self._load, self._source = load, source
        self.router = load(None)
        self.digest: str | None = None
        """Of the router that answers; None: that of the settings."""
        self._revision = 0

    async def begin(self, within_s: float) -> None:
        """Take the router that is in force before the first query; try for so long."""
        await self._until(lambda: self.last_error is None, within_s)

    async def refresh(self) -> None:
        """See `LastTold`."""
        if self._source is not None:
            await self._ask(self._look(self._source))

    async def _look(self, source: RouterSource) -> None:
        found = await source.routing_since(self._revision)
        if found is None:
            return
        if found.router != self.digest:
            files = None if found.router is None else await source.routing_files(found.router)
            self.router = await asyncio.to_thread(self._load, files)
            self.digest = found.router
            _LOG.info("The router is now %s.", found.router[:12] if found.router else "that of the settings")
        self._revision = found.revision
