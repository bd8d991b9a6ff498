"""When a refused client may come again: as long as it takes to serve those who were refused lately and stand before it.

Before a client of a tier stand the refused ones of its own tier and of those above. At the rate at which queries end
now, `refused in the last ten seconds / ended per second` is the wait in the line that they would make. It grows with
the overload: at three times what can be served it is twenty seconds, at a tenth too much one.
"""

import math
from collections import Counter, deque
from collections.abc import Callable

from serve_app.core import Tier

WINDOW_S = 10
_RETRY_S = (1, 60)
_RANKS: dict[Tier, int] = {"flex": 0, "default": 1, "priority": 2}


class _Second:
    """What happened in one second."""

    def __init__(self, second: int) -> None:
        self.second, self.num_served = second, 0
        self.num_refused: Counter[Tier] = Counter()


class ExpectedWait:
    """Counts of the last ten seconds. For one event loop; `clock` in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seconds: deque[_Second] = deque(maxlen=WINDOW_S)

    def served(self) -> None:
        """A query has ended, and its place is free."""
        self._now().num_served += 1

    def refused(self, tier: Tier) -> None:
        """A query got no place."""
        self._now().num_refused[tier] += 1

    def retry_after_s(self, tier: Tier) -> int:
        """For one that was just refused: whole seconds, 1 to 60."""
        now = self._now().second
        recent = [one for one in self._seconds if one.second > now - WINDOW_S]
        before = sum(num for one in recent for other, num in one.num_refused.items() if _RANKS[other] >= _RANKS[tier])
        span_s = min(WINDOW_S, now - recent[0].second + 1)
        ended_per_s = sum(one.num_served for one in recent) / span_s
        least, most = _RETRY_S
        wait_s = before / ended_per_s if ended_per_s else span_s  # nothing has ended: as long again
        return max(least, min(most, math.ceil(wait_s)))

    def _now(self) -> _Second:
        second = int(self._clock())
        if not self._seconds or self._seconds[-1].second != second:
            self._seconds.append(_Second(second))
        return self._seconds[-1]
