"""AdapterFollower: what the registry says becomes what an engine holds. Plain asyncio; knows no Ray.

Every `follow_s` the registry is asked for changes. What is new is fetched, checked and held, several at a time; a name
gets its new live version once that is held; what the registry no longer has is dropped after a grace, since callers may
lag behind. What cannot be loaded is tried again later and holds up nobody: its name keeps the version that it had.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from serve_app.adapters.registry.records import RegistrySnapshot, RegistrySource, ServedVersion
from serve_app.core import AdapterError, EngineError, HeadraceError
from serve_app.engines.versions import AdapterHost

_LOG = logging.getLogger(__name__)
_MOST_LISTED = 10
_FETCHED_AT_ONCE = 16

Key = tuple[str, str]
"""Name and version."""


class ArtefactSource(Protocol):
    """Where adapters' files come from."""

    async def fetch(self, digest: str) -> Path:
        """A local folder with these bytes. Raises AdapterError."""
        ...

    def keep(self, digests: Iterable[str]) -> None:
        """These are needed: their folders stay."""
        ...


@dataclass(frozen=True, slots=True)
class Timing:
    """All in seconds."""

    follow_s: float = 0.5
    """Between two looks at the registry."""
    grace_s: float = 30.0
    """So long a version that the registry no longer has can still be called."""
    ask_s: float = 5.0
    """The registry has to answer within this."""
    fetch_s: float = 60.0
    """One version's files have to be here within this."""
    first_retry_s: float = 0.5
    """After the first failure; doubled with each further one."""
    longest_retry_s: float = 30.0


@dataclass(frozen=True, slots=True)
class FollowState:
    """How far a replica is."""

    revision: int
    """Of the snapshot that it follows; -1: none yet."""
    failed: Mapping[str, str]
    """`name@version` of those that cannot be loaded -> why."""
    registry_away: bool
    """Whether the registry did not answer when it was asked last."""


@dataclass(frozen=True, slots=True)
class _Failure:
    reason: str
    num_tries: int
    retry_at_s: float


class AdapterFollower:
    """For one event loop. `begin` once, then `run` for as long as the replica lives."""

    def __init__(
        self,
        host: AdapterHost,
        registry: RegistrySource,
        artefacts: ArtefactSource,
        started_with: Mapping[str, str],
        keep: Callable[[RegistrySnapshot], None] | None = None,
        timing: Timing | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`started_with`: name -> live version that the host has from its settings; a name that the registry does not
        know stays as it is. `keep` stores a snapshot, in a thread, and raises OSError. `clock` tells seconds.
        """
        self._host, self._registry, self._artefacts, self._keep = host, registry, artefacts, keep
        self._timing, self._clock = timing or Timing(), clock
        self._own = dict(started_with)
        self._live = dict(started_with)
        """As the host was told."""
        self._held: dict[Key, bool] = dict.fromkeys(started_with.items(), False)
        """Whether each is pinned, as the host was told."""
        self._snapshot: RegistrySnapshot | None = None
        self._is_told = False
        """Whether the snapshot is the registry's own word, and newer ones count from it."""
        self._wanted: dict[Key, ServedVersion] = {}
        self._digests: dict[Key, str] = {}
        """Of those that are wanted or held, as far as the registry named them."""
        self._pins: frozenset[str] = frozenset()
        """Versions that shall be pinned."""
        self._loads: dict[Key, asyncio.Task[None]] = {}
        self._failures: dict[Key, _Failure] = {}
        self._leaving: dict[Key, float] = {}
        """When each is dropped, by the clock."""
        self._places = asyncio.Semaphore(_FETCHED_AT_ONCE)
        self._asking, self._settling = asyncio.Lock(), asyncio.Lock()
        self._num_begun = self._num_answered = 0
        """Of the questions to the registry: the number of the last one begun, and of the last one answered."""
        self._away = False

    async def begin(self, kept: Callable[[], RegistrySnapshot | None], within_s: float) -> None:
        """Return when the host serves what the registry has, apart from what cannot be loaded.

        Where the registry does not answer within `within_s`, what `kept` returns, in a thread, stands for its word.
        """
        if not await self._ask(within_s) and (snapshot := await asyncio.to_thread(kept)) is not None:
            _LOG.warning("adapters: starting from revision %d, as this node had it last", snapshot.revision)
            self._take(snapshot)
        await self._all_loaded()

    async def run(self) -> None:
        """Follow, until cancelled."""
        try:
            while True:
                await asyncio.sleep(self._timing.follow_s)
                await self._follow()
        finally:
            for load in self._loads.values():
                load.cancel()

    async def now(self) -> None:
        """Follow at once: return when the host serves what the registry has now, apart from what cannot be loaded.

        Whoever asks while another is being answered shares the next answer.
        """
        await self._follow()
        await self._all_loaded()

    def serves(self, name: str, version: str | None) -> bool:
        """Whether the host has it, and so need not wait for `find`."""
        return name in self._live if version is None else (name, version) in self._held

    async def find(self, name: str, version: str | None, within_s: float) -> None:
        """Follow at once for a version that the host has not yet; a registry that is away is asked again, since it may
        have named the version to a caller just before. One that the registry does not have is left to the host to
        refuse. Raises EngineError where the registry has it, or cannot be asked, and it is not here within `within_s`.
        """
        try:
            async with asyncio.timeout(within_s):
                await self._follow()
                while self._away and self._key(name, version) not in self._wanted:
                    await asyncio.sleep(self._timing.follow_s)
                    await self._follow()
                while (load := self._loads.get(self._key(name, version))) is not None:
                    await asyncio.wait((load,))
        except TimeoutError:
            pass
        if self.serves(name, version):
            return
        key = self._key(name, version)
        if (failure := self._failures.get(key)) is not None:
            raise EngineError(f"adapter {name}, version {key[1]}, cannot be loaded here: {failure.reason}")
        if key in self._wanted:
            raise EngineError(f"adapter {name}, version {key[1]}, is not loaded here yet; try again")
        if self._away:
            raise EngineError(f"adapter {name} is not known here, and the registry cannot be asked; try again")

    @property
    def state(self) -> FollowState:
        """How far the host is."""
        failed = {f"{name}@{version}": failure.reason for (name, version), failure in self._failures.items()}
        return FollowState(self._snapshot.revision if self._snapshot else -1, failed, self._away)

    def _key(self, name: str, version: str | None) -> Key:
        """A call's; without a version it means the one that shall be live."""
        if version is None and self._snapshot is not None:
            version = next((one.live for one in self._snapshot.adapters if one.name == name), None)
        return name, version or ""

    async def _follow(self) -> None:
        """Ask, unless somebody began to after this was called; then begin what is to be done."""
        mine = self._num_begun + 1
        async with self._asking:
            if self._num_answered < mine:
                self._num_begun += 1
                await self._ask(self._timing.ask_s)
                self._num_answered = self._num_begun
        self._begin_loads()
        await self._settle()

    async def _ask(self, within_s: float) -> bool:
        """Take the registry's snapshot, if it has a newer one. False where it did not answer."""
        since = self._snapshot.revision if self._snapshot is not None and self._is_told else -1
        try:
            async with asyncio.timeout(within_s):
                snapshot = await self._registry.adapters_since(since)
        except (HeadraceError, TimeoutError) as error:
            if not self._away:
                _LOG.warning(
                    "adapters: the registry is away (%s); what is held stays", str(error) or "no answer in time"
                )
            self._away, self._is_told = True, False  # it may come back with another database: it is asked for all
            return False
        if self._away:
            _LOG.info("adapters: the registry is back")
        self._away, self._is_told = False, True
        if snapshot is not None and snapshot != self._snapshot:
            self._take(snapshot)
            await self._kept(snapshot)
        return True

    def _take(self, snapshot: RegistrySnapshot) -> None:
        self._snapshot = snapshot
        wanted = {(one.name, each.version): each for one in snapshot.adapters for each in one.versions}
        rank = {one.live: 0 for one in snapshot.adapters} | {one.canary: 1 for one in snapshot.adapters}
        self._wanted = dict(sorted(wanted.items(), key=lambda item: rank.get(item[0][1], 2)))
        self._digests |= {key: served.digest for key, served in wanted.items()}
        self._keep_files()
        self._pins = frozenset(one.live for one in snapshot.adapters if one.pinned and one.live)
        self._failures = {key: failure for key, failure in self._failures.items() if key in self._wanted}
        self._begin_loads()

    async def _kept(self, snapshot: RegistrySnapshot) -> None:
        if self._keep is None:
            return
        try:
            await asyncio.to_thread(self._keep, snapshot)
        except OSError as error:
            _LOG.warning("adapters: the registry's snapshot is not kept on this node: %s", error)

    def _begin_loads(self) -> None:
        """Of what is wanted and neither held nor failed a moment ago."""
        now_s = self._clock()
        for key, served in self._wanted.items():
            failure = self._failures.get(key)
            if key not in self._held and key not in self._loads and (failure is None or failure.retry_at_s <= now_s):
                self._loads[key] = asyncio.create_task(self._load(key, served))

    async def _load(self, key: Key, served: ServedVersion) -> None:
        try:
            async with self._places:
                pinned = await self._hold(key, served)
        except Exception as error:  # whatever a store raises: the other versions are none the worse for it
            self._failed(key, error)
        else:
            self._held[key] = pinned
            self._failures.pop(key, None)
            _LOG.info("adapters: %s@%s is held", *key)
        finally:
            del self._loads[key]
        await self._settle()

    async def _hold(self, key: Key, served: ServedVersion) -> bool:
        """Fetch, check and hold one version; whether it is pinned."""
        name, version = key
        async with asyncio.timeout(self._timing.fetch_s):
            folder = await self._artefacts.fetch(served.digest)
        adapter = await asyncio.to_thread(self._host.read_adapter, folder, name, served.base_override)
        if adapter.version != version:
            raise AdapterError(f"the store's files are those of version {adapter.version}; add the adapter again")
        pinned = version in self._pins
        await self._host.add_version(adapter)
        if pinned:
            await self._pin(version, True)
        return pinned

    def _failed(self, key: Key, error: Exception) -> None:
        before, timing = self._failures.get(key), self._timing
        num_tries = 1 + (before.num_tries if before else 0)
        said = "it takes too long to fetch" if isinstance(error, TimeoutError) else str(error)
        reason = said if isinstance(error, HeadraceError | TimeoutError) else f"{type(error).__name__}: {said}"
        if before is None or before.reason != reason:
            _LOG.warning("adapters: %s@%s cannot be loaded, and is tried again: %s", *key, reason)
        wait_s = min(timing.longest_retry_s, timing.first_retry_s * 2 ** min(num_tries - 1, 16))
        self._failures[key] = _Failure(reason, num_tries, self._clock() + wait_s)

    async def _all_loaded(self) -> None:
        while self._loads:
            await asyncio.wait(tuple(self._loads.values()))
        await self._settle()

    async def _settle(self) -> None:
        """Pins first, so that a version is resident when it becomes live; then names; last, what nobody wants."""
        async with self._settling:
            if self._snapshot is None:
                return
            await self._set_pins(True)
            live = self._next_live()
            if live != self._live:
                await self._host.set_live(live)
                _LOG.info("adapters: live at revision %d: %s", self._snapshot.revision, _listed(live, self._live))
                self._live = live
            await self._set_pins(False)
            await self._drop_unwanted()

    async def _set_pins(self, pinned: bool) -> None:
        """Of those that are held: pin what shall be, or unpin what shall no longer be."""
        for key, is_pinned in tuple(self._held.items()):
            if is_pinned != pinned and (key[1] in self._pins) == pinned:
                self._held[key] = pinned
                await self._pin(key[1], pinned)

    async def _pin(self, version: str, pinned: bool) -> None:
        try:
            await self._host.pin_version(version, pinned)
        except HeadraceError as error:
            _LOG.warning("adapters: %s is not kept resident: %s", version, error)

    def _next_live(self) -> dict[str, str]:
        """What each name stands for; the version before, as long as the new one is not held."""
        assert self._snapshot is not None
        known = {one.name: one.live for one in self._snapshot.adapters}
        live = {name: version for name, version in self._own.items() if name not in known}
        for name, version in known.items():
            for each in (version, self._live.get(name)) if version is not None else ():
                if each is not None and (name, each) in self._held:
                    live[name] = each
                    break
        return {name: version for name, version in live.items() if (name, version) in self._held}

    async def _drop_unwanted(self) -> None:
        now_s = self._clock()
        needed = self._wanted.keys() | self._live.items()
        self._leaving = {
            key: self._leaving.get(key, now_s + self._timing.grace_s) for key in self._held if key not in needed
        }
        for key, at_s in tuple(self._leaving.items()):
            if at_s <= now_s:
                await self._host.drop_version(*key)
                del self._held[key], self._leaving[key]
                self._keep_files()
                _LOG.info("adapters: %s@%s is dropped", *key)

    def _keep_files(self) -> None:
        needed = self._wanted.keys() | self._held.keys()
        self._digests = {key: digest for key, digest in self._digests.items() if key in needed}
        self._artefacts.keep(self._digests.values())


def _listed(live: Mapping[str, str], before: Mapping[str, str]) -> str:
    """What changed.

    >>> _listed({"law": "v2", "code": "v1"}, {"law": "v1", "code": "v1", "med": "v1"})
    'law@v2, no med'
    """
    changed = [f"{name}@{version}" for name, version in live.items() if before.get(name) != version]
    changed += [f"no {name}" for name in before if name not in live]
    num_more = len(changed) - _MOST_LISTED
    return ", ".join(changed[:_MOST_LISTED]) + (f" and {num_more} more" if num_more > 0 else "")
