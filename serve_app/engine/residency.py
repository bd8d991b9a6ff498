"""Which adapters are known, and which of them lie in which adapter slot. Pure Python: no torch, no clock, no threads.

    absent ──ready()──> loading ──loaded()──> resident ──(room for another is needed)──> absent
                           └────failed()────> absent, with an error until it is added again

A slot is given away only if nobody needs its contents: no row holds it, nothing is being loaded into it, and its
adapter is not pinned. Among those the least recently used goes first. While rows hold other adapters, one that has not
had a row since it was loaded is spared for some time, so that adapters that wait for one slot do not evict each other
in turn. Where no row holds an adapter nobody is spared: no step may follow that would end the waiting.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from serve_app.core import AdapterError, EngineError, HeadraceError, ModelNotFound
from serve_app.engine.residence import Residence

GRACE = 32
"""So many times an adapter that has not had a row since it was loaded keeps its slot when another finds no room."""


class Residency:
    """The adapter slots 0 to num_slots - 1. Not thread-safe: its caller holds a lock, during `request_load` too.

    `request_load(slot, version)` starts to load a version into a slot and is answered, then or later, by `loaded` or
    `failed`.
    """

    def __init__(self, num_slots: int, request_load: Callable[[int, str], None]) -> None:
        self._request_load = request_load
        self.num_slots = num_slots
        self.num_loads = 0
        """Loads requested so far."""
        self._known: dict[str, Residence] = {}
        self._tick = 0

    def add(self, version: str) -> None:
        """Make a version known, or known again: forgets that it failed, was removed or is pinned."""
        before = self._known.get(version, Residence(version))
        self._known[version] = replace(before, pinned=False, removed=False, error=None)
        self._load_pinned()

    def remove(self, version: str) -> None:
        """No new rows; the slot is free once the last row left. Unknown versions are ignored."""
        if version in self._known:
            self._change(version, removed=True, pinned=False)
            self._bury(version)

    def pin(self, version: str, pinned: bool) -> None:
        """Raises ModelNotFound for an unknown version, AdapterError if as many as there are slots are pinned."""
        if version not in self._known or self._known[version].removed:
            raise _unknown(version)
        if pinned:
            self._must_have_room_for_pin(version)
        self._change(version, pinned=pinned)
        self._load_pinned()

    def ready(self, version: str) -> bool:
        """Whether a row may hold it now. If not, and it has no `error`, a load is requested as soon as there is room:
        ask again before each step."""
        one = self._known.get(version)
        if one is None or one.removed or one.error is not None:
            return False
        if one.state == "resident":
            self._use(version)
            return True
        if one.state == "absent":
            self._load(version)
        return self._known[version].state == "resident"

    def hold(self, version: str) -> int:
        """The adapter slot, for one more row. Raises EngineError unless `ready`."""
        one = self._known.get(version)
        if one is None or one.removed or one.slot is None or one.state != "resident":
            raise EngineError(f"adapter {version} was given a row before it was loaded")
        self._use(version, holds=one.holds + 1, grace=0)
        return one.slot

    def release(self, version: str) -> None:
        """A row left. Raises EngineError if none was counted."""
        one = self._known.get(version)
        if one is None or not one.holds:
            raise EngineError(f"a row left adapter {version}, which had none")
        self._use(version, holds=one.holds - 1)
        self._bury(version)

    def loaded(self, slot: int, version: str) -> None:
        """The answer to `request_load`. Raises EngineError where none was requested."""
        self._must_be_loading(slot, version)
        self._use(version, state="resident", grace=0 if self._known[version].pinned else GRACE)
        self._bury(version)

    def failed(self, slot: int, version: str, error: HeadraceError) -> None:
        """The answer to `request_load`: the slot holds nothing usable. Raises EngineError where none was requested."""
        self._must_be_loading(slot, version)
        self._change(version, state="absent", slot=None, error=error)
        self._bury(version)

    def error(self, version: str) -> HeadraceError | None:
        """Why no row can be given to it, whatever is waited for; None if it can be served sooner or later."""
        one = self._known.get(version)
        if one is None or one.removed:
            return _unknown(version)
        if one.error is None and one.state == "absent" and self._all_pinned(besides=version):
            return AdapterError(
                f"adapter {version} has no place: all {self.num_slots} adapter slots are kept for pinned adapters; "
                f"unpin one or give the engine more slots"
            )
        return one.error

    def residence(self, version: str) -> Residence:
        """Where it is. Raises ModelNotFound for an unknown version."""
        if version not in self._known:
            raise _unknown(version)
        return self._known[version]

    def resident(self) -> Mapping[str, int]:
        """Version -> slot of those that rows can be given to now."""
        return {
            one.version: one.slot
            for one in self._known.values()
            if one.state == "resident" and one.slot is not None and not one.removed
        }

    def snapshot(self) -> tuple[Residence, ...]:
        """All known versions, and the removed ones that are not gone yet, in the order they were added."""
        return tuple(self._known.values())

    def check(self, held: Iterable[str] | None = None) -> None:
        """Raise EngineError if the books do not balance. `held`: the version of each row that has an adapter."""
        slots = [one.slot for one in self._known.values() if one.slot is not None]
        if len(set(slots)) < len(slots) or not set(slots) <= set(range(self.num_slots)):
            raise EngineError(f"the adapters lie in the slots {sorted(slots)} of {self.num_slots}")
        for one in self._known.values():
            if (one.slot is None) != (one.state == "absent") or (one.holds and one.state != "resident"):
                raise EngineError(f"adapter {one.version} is {one.state} in slot {one.slot} with {one.holds} rows")
        counted = {one.version: one.holds for one in self._known.values() if one.holds}
        if held is not None and counted != Counter(held):
            raise EngineError(f"the adapters count the rows {counted}, which are not the engine's")

    def _load(self, version: str) -> None:
        """Request a load if there is room for it."""
        slot = self._room(at_once=self._known[version].pinned)
        if slot is not None:
            self.num_loads += 1
            self._change(version, state="loading", slot=slot)
            self._request_load(slot, version)

    def _load_pinned(self) -> None:
        for version in tuple(self._known):
            one = self._known.get(version)  # anew: a load that is answered at once has changed the books
            if one is not None and one.pinned and one.state == "absent" and one.error is None:
                self._load(version)

    def _room(self, at_once: bool) -> int | None:
        """A slot to load into, its contents given up; None if all are needed. `at_once`: nobody is spared."""
        at_once = at_once or not any(one.holds for one in self._known.values())
        taken = {one.slot for one in self._known.values()}
        free = [slot for slot in range(self.num_slots) if slot not in taken]
        if free:
            return free[0]
        idle = [one for one in self._known.values() if one.state == "resident" and not one.pinned and not one.holds]
        least_recent = min(
            (one for one in idle if at_once or not one.grace), key=lambda one: one.last_used, default=None
        )
        if least_recent is None:
            for one in idle:
                self._change(one.version, grace=one.grace - 1)
            return None
        self._change(least_recent.version, state="absent", slot=None)
        return least_recent.slot

    def _bury(self, version: str) -> None:
        """Drop a removed adapter that no row and no loading needs any more; see whether that makes room."""
        one = self._known[version]
        if one.removed and not one.holds and one.state != "loading":
            del self._known[version]
        self._load_pinned()

    def _use(self, version: str, **changes: Any) -> None:
        self._tick += 1
        self._change(version, last_used=self._tick, **changes)

    def _change(self, version: str, **changes: Any) -> None:
        self._known[version] = replace(self._known[version], **changes)

    def _all_pinned(self, besides: str) -> bool:
        """Whether other adapters, pinned and without an error, need every slot."""
        others = (one for one in self._known.values() if one.version != besides)
        return sum(one.pinned and one.error is None for one in others) >= self.num_slots

    def _must_have_room_for_pin(self, version: str) -> None:
        if self._all_pinned(besides=version):
            raise AdapterError(
                f"adapter {version} cannot be pinned: all {self.num_slots} adapter slots are kept for pinned adapters"
            )

    def _must_be_loading(self, slot: int, version: str) -> None:
        one = self._known.get(version)
        if one is None or one.state != "loading" or one.slot != slot:
            raise EngineError(f"no load of adapter {version} into slot {slot} was requested")


def _unknown(version: str) -> ModelNotFound:
    return ModelNotFound(f"adapter {version} was removed or never added", "model", "model_not_found")
