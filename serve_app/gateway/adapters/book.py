"""What a gateway knows of the adapter registry: names, versions, and which version answers a conversation."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping

from serve_app.adapters.registry.kept import KeptSnapshot
from serve_app.adapters.registry.records import RegistrySnapshot, RegistrySource, ServedAdapter
from serve_app.core import DataError, Query
from serve_app.patterns import takes_canary
from serve_app.snapshots import LastTold
from serve_app.telemetry import instruments as its
from serve_app.telemetry.instruments import Reading

_LOG = logging.getLogger(__name__)


class AdapterBook(LastTold):
    """Implements `patterns.AdapterVersions` by following a `RegistrySource`. For one event loop.

    While the registry cannot be read its last snapshot counts. Before the first one there are the adapters of the
    settings, each in the version that engines give to calls that name none; and so there are those that the registry
    has never heard of, because their files lie where engines run.
    """

    def __init__(
        self,
        configured: Collection[str],
        source: RegistrySource,
        follow_s: float = 0.5,
        timeout_s: float = 5.0,
        kept: KeptSnapshot | None = None,
        grace_s: float = 20.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`configured`: names of the settings' adapters. The source is asked every `follow_s`.

        `grace_s`: how long a query keeps a version that left the registry; engines have to keep it longer.
        `kept`: the copy on this node's disk, which counts where the registry cannot be read at the start.
        """
        self._kept, self._grace_s = kept, grace_s
        super().__init__(_LOG, "The adapter registry cannot be read, what was known counts", follow_s, timeout_s, clock)
        self._source = source
        self.snapshot: RegistrySnapshot | None = None
        """None: not read yet."""
        self._saved: RegistrySnapshot | None = None
        self._configured = self._names = tuple(configured)
        self._served: dict[str, ServedAdapter] = {}
        self._left: dict[tuple[str, str], float] = {}
        """Name and version -> when the book saw that they are served no more."""
        self._asking = asyncio.Lock()
        self._watchers: list[Callable[[RegistrySnapshot], None]] = []

    @property
    def names(self) -> Collection[str]:
        """See `AdapterVersions`."""
        return self._names

    def served(self, name: str) -> ServedAdapter | None:
        """What the registry says of a name that may be asked for; None: nothing."""
        return self._served.get(name)

    def tried(self, query: Query) -> Mapping[str, str]:
        """See `AdapterVersions`."""
        return {name: _picked(one, query) for name, one in self._served.items() if one.canary is not None}

    def version(self, adapter: str, query: Query, before: str | None = None) -> str | None:
        """See `AdapterVersions`. A version that has just left stays the query's as long as engines surely have it."""
        found = self._served.get(adapter)
        if before is not None:
            if found is not None and before in (found.live, found.canary):
                return before
            left_at_s = self._left.get((adapter, before))
            if left_at_s is not None and self._clock() - left_at_s < self._grace_s:
                return before
        return None if found is None else _picked(found, query)

    def watch(self, watcher: Callable[[RegistrySnapshot], None]) -> None:
        """Call it with every new snapshot, on the event loop."""
        self._watchers.append(watcher)

    async def begin(self, within_s: float) -> None:
        """Read the registry before the first query asks; try for so long."""
        await self._until(lambda: self.snapshot is not None, within_s)
        if self.snapshot is None and self._kept is not None:
            await self._take_copy(self._kept)

    async def refresh(self) -> None:
        """See `LastTold`."""
        async with self._asking:
            before = self.snapshot
            found = await self._ask(self._source.adapters_since(-1 if before is None else before.revision))
            if found is not None and self.snapshot is before:  # a lower revision counts: the database was restored
                self._go_by(found)
            elif found is not None:
                self.take(found)
            if self.last_error is None and self._kept is not None:
                await self._save_copy(self._kept)

    def take(self, snapshot: RegistrySnapshot) -> None:
        """Go by this snapshot from now on, unless a later one is known: it may have been overtaken on its way."""
        if self.snapshot is None or snapshot.revision >= self.snapshot.revision:
            self._go_by(snapshot)

    def _go_by(self, snapshot: RegistrySnapshot) -> None:
        now_s, before = self._clock(), _askable(self._served.values())
        self.snapshot = snapshot
        self._served = {one.name: one for one in snapshot.adapters if one.live is not None}
        known = {one.name for one in snapshot.adapters}
        self._names = tuple(sorted({*self._served, *(name for name in self._configured if name not in known)}))
        now = _askable(self._served.values())
        left = {pair: at_s for pair, at_s in self._left.items() if pair not in now and now_s - at_s < self._grace_s}
        self._left = left | dict.fromkeys(before - now, now_s)
        for watcher in self._watchers:
            watcher(snapshot)

    async def _take_copy(self, kept: KeptSnapshot) -> None:
        try:
            found = await asyncio.to_thread(kept.load)
        except (DataError, OSError) as error:
            _LOG.warning("The copy of the adapter registry is of no use: %s", error)
            return
        if found is not None:
            _LOG.warning("The adapter registry cannot be read: its copy on this node counts.")
            self.take(found.snapshot)

    async def _save_copy(self, kept: KeptSnapshot) -> None:
        """Where there is something new, be it that an admin page told it."""
        snapshot = self.snapshot
        if snapshot is None or snapshot is self._saved:
            return
        self._saved = snapshot
        try:
            await asyncio.to_thread(kept.save, snapshot)
        except OSError as error:
            _LOG.warning("No copy of the adapter registry is kept on this node: %s", error)

    def readings(self) -> Iterator[Reading]:
        """A `telemetry` source."""
        yield Reading(its.ADAPTERS, len(self._names))
        yield Reading(its.ADAPTER_REVISION, 0 if self.snapshot is None else self.snapshot.revision)


def _picked(adapter: ServedAdapter, query: Query) -> str:
    assert adapter.live is not None, "the book holds names that may be asked for"
    if adapter.canary is not None and takes_canary(adapter.name, query, adapter.canary_weight):
        return adapter.canary
    return adapter.live


def _askable(adapters: Collection[ServedAdapter]) -> set[tuple[str, str]]:
    return {(one.name, version) for one in adapters for version in (one.live, one.canary) if version is not None}
