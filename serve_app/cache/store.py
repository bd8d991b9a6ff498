"""Answers by the hash of their request, bounded in bytes and in age."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from serve_app.cache.answers import CachedAnswer

_ENTRY_BYTES = 512
"""Of the tables around an answer."""


class AnswerStore:
    """The least recently used answers go first. For one event loop.

    `gone` is called with the hash of each answer that leaves. `clock` gives seconds that never go back.
    """

    def __init__(self, max_bytes: int, ttl_s: float, gone: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._max_bytes, self._ttl_s, self._gone, self._clock = max_bytes, ttl_s, gone, clock
        self._entries: OrderedDict[str, tuple[CachedAnswer, float, int]] = OrderedDict()
        """Hash -> answer, when it ends to count, its bytes; the least recently used one first."""
        self.num_bytes = 0
        self.num_evicted = 0
        """Left to make room. Disjoint from num_expired."""
        self.num_expired = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str) -> CachedAnswer | None:
        """The answer, which counts as used now; None where there is none that still counts."""
        found = self._entries.get(key)
        if found is None:
            return None
        answer, expires_s, _ = found
        if self._clock() >= expires_s:
            self.num_expired += 1
            self._remove(key)
            return None
        self._entries.move_to_end(key)
        return answer

    def put(self, key: str, answer: CachedAnswer) -> bool:
        """Keep, in place of what was there; False where it alone is over the bound."""
        num_bytes = answer.num_bytes + _ENTRY_BYTES
        if num_bytes > self._max_bytes:
            return False
        if key in self._entries:
            self._remove(key)
        while self.num_bytes + num_bytes > self._max_bytes:
            self.num_evicted += 1
            self._remove(next(iter(self._entries)))
        self._entries[key] = (answer, self._clock() + self._ttl_s, num_bytes)
        self.num_bytes += num_bytes
        return True

    def _remove(self, key: str) -> None:
        self.num_bytes -= self._entries.pop(key)[2]
        self._gone(key)
