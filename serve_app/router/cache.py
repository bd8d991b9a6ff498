"""Texts read lately, so that a repeated one is not encoded twice."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

from serve_app.router.classifier import FloatArray


@dataclass(frozen=True, slots=True)
class Known:
    """What was computed of one text."""

    probabilities: FloatArray
    """(num_labels,), calibrated."""
    vector: FloatArray | None
    """(dimension,) of length 1; None where no one needed it."""


class RecentTexts:
    """At most `capacity` texts, the least recently used goes first. Safe for several threads."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._known: OrderedDict[str, Known] = OrderedDict()
        self._lock = Lock()
        self.hits = 0
        """Look-ups that were answered."""
        self.misses = 0

    def __len__(self) -> int:
        return len(self._known)

    def get(self, text: str, with_vector: bool) -> Known | None:
        """What is known of `text`; None where that lacks a vector that is asked for."""
        with self._lock:
            known = self._known.get(text)
            if known is None or (with_vector and known.vector is None):
                self.misses += 1
                return None
            self._known.move_to_end(text)
            self.hits += 1
            return known

    def peek(self, text: str, with_vector: bool) -> Known | None:
        """`get` that neither counts nor makes the text younger."""
        with self._lock:
            known = self._known.get(text)
        return None if known is None or (with_vector and known.vector is None) else known

    def put(self, text: str, known: Known) -> None:
        """Store, and drop the oldest where there are too many."""
        with self._lock:
            self._known[text] = known
            self._known.move_to_end(text)
            if len(self._known) > self._capacity:
                self._known.popitem(last=False)
