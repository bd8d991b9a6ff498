"""Up at once, down slowly: from replicas needed to replicas wanted.

The need's peak is remembered and halves every `half_life_s`; the target follows the peak up to the next whole replica,
and follows it down only once the peak, widened by `margin`, fits fewer. So a replica that was added stays for at least
`half_life_s x log2(1 + margin)`, 66 s as set here, whatever the load does. Of two trajectories of load of which one is
never below the other, the same holds for the targets.
"""

import math
from dataclasses import dataclass

from serve_app.config.scaling import Pace

_EPS = 1e-9
"""2.0000000001 replicas are two."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Fewest and most replicas."""

    min_replicas: int
    max_replicas: int

    def clamp(self, replicas: int) -> int:
        """The nearest number within."""
        return max(self.min_replicas, min(self.max_replicas, replicas))


@dataclass(frozen=True, slots=True)
class Held:
    """State of one node: `peak` in replicas, as remembered at `at_s`."""

    peak: float
    at_s: float
    target: int


def settle(pace: Pace, bounds: Bounds, held: Held | None, need: float, now_s: float) -> Held:
    """The next state; its `target` is what to run.

    >>> pace, bounds = Pace(half_life_s=60, margin=0.2), Bounds(1, 8)
    >>> up = settle(pace, bounds, None, need=3.2, now_s=0)
    >>> up.target                                                  # up at once
    4
    >>> settle(pace, bounds, up, need=0.5, now_s=10).target        # peak 2.85; with margin 3.4: still four
    4
    >>> settle(pace, bounds, up, need=0.5, now_s=60).target        # peak 1.6; with margin 1.92: two
    2
    """
    peak = min(max(0.0, need), float(bounds.max_replicas))
    last = bounds.min_replicas
    if held is not None:
        age_s = max(0.0, now_s - held.at_s)
        peak = max(peak, min(held.peak, bounds.max_replicas) * 0.5 ** (age_s / pace.half_life_s))
        last = held.target
    up, down_to = math.ceil(peak - _EPS), math.ceil(peak * (1 + pace.margin) - _EPS)
    return Held(peak, now_s, bounds.clamp(max(up, min(last, down_to))))
