"""Which part of the engine's time a call is charged with.

vLLM does not tell how long its steps took, so the time that goes by is split equally over the calls that have a row
meanwhile. The parts add up to the time in which there was any call; a long prompt is charged no more than its
neighbours that decode meanwhile, which is where this differs from `usage.busy_s` of engine `local`.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class Shares:
    """For one event loop.

    >>> now_s = iter([0.0, 2.0, 6.0, 6.0])
    >>> shares = Shares(lambda: next(now_s))
    >>> first = shares.begin()   # alone from 0 to 2, one of two from 2 to 6
    >>> second = shares.begin()
    >>> shares.of(first), shares.of(second)
    (4.0, 2.0)
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._num_rows = 0
        self._at_s = 0.0
        self._each_s = 0.0
        """What a row would have been charged that was there all the time."""

    def begin(self) -> float:
        """A call got a row. Returns what `of` asks for."""
        self._advance()
        self._num_rows += 1
        return self._each_s

    def of(self, begun: float) -> float:
        """Seconds that a call is charged with so far."""
        self._advance()
        return self._each_s - begun

    def end(self) -> None:
        """A call gave its row back."""
        self._advance()
        self._num_rows -= 1

    def _advance(self) -> None:
        now_s = self._clock()
        if self._num_rows:
            self._each_s += (now_s - self._at_s) / self._num_rows
        self._at_s = now_s
