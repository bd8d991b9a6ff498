"""Who holds which cache slot, and which prompt tokens need no forward pass because a slot holds them already.

Keys and values of a token depend on the tokens before it and on the adapter, so they may be reused by any prompt that
begins with the same tokens under the same adapter. A row that leaves retires its slot: the contents stay reusable
until the slot is taken. Pure Python; not thread-safe (its caller holds a lock).

The books run ahead of the cache by the copies of one step: a taken slot counts as holding what its copy will bring.
So the copies of a step must be carried out in the order of their leases, before anything else is written.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from serve_app.core import EngineError
from serve_app.engine.prefix import PrefixIndex
from serve_app.engine.request import Copy


@dataclass(frozen=True, slots=True)
class Lease:
    """A slot for one row, valid until the slot is retired or forgotten."""

    slot: int
    num_reused: int
    """Prompt tokens that the slot holds, once `copy` is done: less than the prompt's length."""
    copy: Copy | None
    """None: nothing is reused, or the slot held the tokens itself."""


@dataclass(frozen=True, slots=True)
class PrefixStats:
    """Totals since the start, over all leases."""

    leases: int = 0
    hits: int = 0
    """Leases that reused anything."""
    prompt_tokens: int = 0
    reused_tokens: int = 0
    """Included in `prompt_tokens`."""
    copied_tokens: int = 0
    """Included in `reused_tokens`: the rest were reused where they lay."""


@dataclass(slots=True)
class _Slot:
    adapter: str | None = None
    token_ids: list[int] = field(default_factory=list)
    """Those whose keys and values are valid in the cache, at the positions 0, 1, ..."""


class SlotTable:
    """The cache slots 0 to num_slots - 1. A prefix shorter than `block_tokens` is not worth reusing."""

    def __init__(self, num_slots: int, block_tokens: int = 16) -> None:
        self._block_tokens = block_tokens
        self._slots = [_Slot() for _ in range(num_slots)]
        self._free: OrderedDict[int, None] = OrderedDict((slot, None) for slot in range(num_slots))
        """Slots without a row, the next to be overwritten first: empty ones, then the least recently used."""
        self._index = PrefixIndex(block_tokens)
        self._stats = PrefixStats()

    @property
    def stats(self) -> PrefixStats:
        """A snapshot."""
        return self._stats

    @property
    def num_free(self) -> int:
        """So many calls of `take` in a row succeed."""
        return len(self._free)

    @property
    def num_tokens_held(self) -> int:
        """Valid tokens in all slots, live and retired."""
        return sum(len(slot.token_ids) for slot in self._slots)

    def take(self, adapter: str | None, prompt_ids: tuple[int, ...]) -> Lease | None:
        """Give a row a slot, with as much of its prompt in it as any slot holds. None: all slots are held by rows.

        The last prompt token is never reused: the row needs its logits. A lease cannot be handed back before its
        copy is done; who needs several slots or none asks `num_free` first.
        """
        if not self._free:
            return None
        source, num_reused = self._longest(adapter, prompt_ids[:-1])
        target = self._target(source, num_reused)
        copy = None if source is None or source == target else Copy(source, target, num_reused)
        del self._free[target]
        self._empty(target)
        self._slots[target].adapter = adapter
        self.written(target, prompt_ids[:num_reused])
        self._stats = PrefixStats(
            self._stats.leases + 1,
            self._stats.hits + (num_reused > 0),
            self._stats.prompt_tokens + len(prompt_ids),
            self._stats.reused_tokens + num_reused,
            self._stats.copied_tokens + (copy.num_tokens if copy else 0),
        )
        return Lease(target, num_reused, copy)

    def written(self, slot: int, token_ids: Sequence[int]) -> None:
        """These tokens were appended: the next positions of a held slot are now valid in the cache."""
        self._must_be_held(slot)
        held = self._slots[slot]
        held.token_ids.extend(token_ids)
        self._index.extend(slot, held.adapter, held.token_ids)

    def retire(self, slot: int) -> None:
        """The row left; its tokens stay reusable until the slot is taken."""
        self._must_be_held(slot)
        self._free[slot] = None
        if len(self._slots[slot].token_ids) < self._block_tokens:
            self._discard(slot)

    def forget(self, slot: int) -> None:
        """The row failed and its contents must not be reused; neither may those of retired slots that begin alike.

        The fault may have been copied from one to the other: kept, it would fail every later row of this prefix.
        """
        self._must_be_held(slot)
        self._free[slot] = None
        for other in (*self._index.kin(slot), slot):
            if other in self._free:
                self._discard(other)

    def drop_adapter(self, adapter: str) -> None:
        """The adapter was removed: its retired slots become empty. Those of its rows stay reusable when they retire."""
        for slot in list(self._free):
            if self._slots[slot].adapter == adapter:
                self._discard(slot)

    def check(self, live: Collection[int]) -> None:
        """Raise EngineError unless exactly these slots are held."""
        held = set(range(len(self._slots))) - set(self._free)
        if held != set(live) or len(live) != len(held):
            raise EngineError(f"the rows hold the cache slots {sorted(live)} but {sorted(held)} are taken")

    def _longest(self, adapter: str | None, token_ids: tuple[int, ...]) -> tuple[int | None, int]:
        """The slot that begins with most of these tokens and how many; (None, 0) if no slot has a block of them."""
        num_common, holders = self._index.holders(adapter, token_ids)
        best, num_best, best_in_place = None, 0, False
        for slot in holders:
            held = self._slots[slot].token_ids
            num = num_common
            while num < min(len(held), len(token_ids)) and held[num] == token_ids[num]:
                num += 1
            in_place = slot in self._free and self._tail(slot, num) < self._block_tokens
            if (num, in_place) > (num_best, best_in_place):
                best, num_best, best_in_place = slot, num, in_place
        if best is None or self._slots[best].adapter != adapter:
            return None, 0
        if self._slots[best].token_ids[:num_best] != list(token_ids[:num_best]):
            return None, 0  # two hashes were equal by accident
        return best, num_best

    def _target(self, source: int | None, num_reused: int) -> int:
        """The free slot to give away: the source itself, if it is the next to go or hardly anything of it is lost."""
        target = next(iter(self._free))
        if source is None or source not in self._free:
            return target
        self._free.move_to_end(source)  # it was of use: others go first
        return source if self._tail(source, num_reused) < self._block_tokens else target

    def _tail(self, slot: int, num_tokens: int) -> int:
        """How many tokens the slot holds beyond these: lost to others if it is taken in place."""
        return len(self._slots[slot].token_ids) - num_tokens

    def _empty(self, slot: int) -> None:
        self._index.drop(slot)
        self._slots[slot] = _Slot()

    def _discard(self, slot: int) -> None:
        """Empty a free slot; it is the next to be taken."""
        self._empty(slot)
        self._free.move_to_end(slot, last=False)

    def _must_be_held(self, slot: int) -> None:
        if slot in self._free:
            raise EngineError(f"no row holds cache slot {slot}")
