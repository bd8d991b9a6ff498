"""Which question asked before is nearest: exact search over unit vectors, apart for each context."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np

Vector = np.ndarray[Any, np.dtype[np.float32]]


class _Bank:
    """The questions of one context. The rows of `matrix` up to `len(keys)` are in use, in no order."""

    def __init__(self, dimension: int) -> None:
        self.keys: list[str] = []
        self._places: dict[str, int] = {}
        self._matrix = np.empty((4, dimension), dtype=np.float32)

    def add(self, key: str, vector: Vector) -> None:
        if len(self.keys) == len(self._matrix):
            self._matrix = np.concatenate([self._matrix, np.empty_like(self._matrix)])
        self._places[key] = len(self.keys)
        self._matrix[len(self.keys)] = vector
        self.keys.append(key)

    def discard(self, key: str) -> None:
        """The last row takes the place of the one that goes."""
        place, last = self._places.pop(key), self.keys.pop()
        if last != key:
            self.keys[place], self._places[last] = last, place
            self._matrix[place] = self._matrix[len(self.keys)]

    def nearest(self, vector: Vector) -> tuple[str, float]:
        similarities = self._matrix[: len(self.keys)] @ vector
        place = int(similarities.argmax())
        return self.keys[place], float(similarities[place])


class Neighbours:
    """Remembers up to `max_entries` questions; the oldest go first. For one event loop."""

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        self._banks: dict[str, _Bank] = {}
        self._contexts: OrderedDict[str, str] = OrderedDict()
        """Key -> context, oldest first."""

    def __len__(self) -> int:
        return len(self._contexts)

    def add(self, context: str, key: str, vector: Vector) -> None:
        """Remember a question, shape (dimension,), of length 1, under `key`; it takes the place of an older one."""
        self.discard(key)
        while len(self._contexts) >= self._max_entries:
            self.discard(next(iter(self._contexts)))
        self._banks.setdefault(context, _Bank(len(vector))).add(key, vector)
        self._contexts[key] = context

    def discard(self, key: str) -> None:
        """Forget a question; nothing happens where it is not known."""
        context = self._contexts.pop(key, None)
        if context is None:
            return
        bank = self._banks[context]
        bank.discard(key)
        if not bank.keys:
            del self._banks[context]

    def nearest(self, context: str, vector: Vector) -> tuple[str, float] | None:
        """The nearest question of the context and its cosine; None where the context is new."""
        bank = self._banks.get(context)
        return None if bank is None else bank.nearest(vector)
