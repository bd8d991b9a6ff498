"""A test that may be looked at at any moment: is the mean of values in [-1, 1] above a bound?

Betting (Waudby-Smith & Ramdas 2024, "Estimating means of bounded random variables by betting", JRSS B 86), as in
`sequential`, here for values of both signs: with y = (1 + value) / 2 and m = (1 + bound) / 2, a gambler who stakes the
fraction f of the capital multiplies it by (1 - f) + f y / m. While no value's mean, given those before it, is above the
bound, capital does not grow on average, so that it ever reaches 1/alpha with probability at most alpha (Ville).

The fractions are fixed, and the capital is spread over them evenly: small ones find a small excess in noisy values,
large ones a small excess in values that hardly vary. Fixed fractions make the capital a function of how often each
value was seen: the order does not matter, so evidence of several gateways, in any order, is simply added up.
"""

import math
from collections.abc import Mapping

import numpy as np

_FRACTIONS = np.geomspace(0.01, 0.99, 20)
_BISECTIONS = 30


def log_mean_above(counts: Mapping[float, int], bound: float) -> float:
    """Natural logarithm of the evidence against "the mean is at most `bound`"; 0 is none. It falls with the bound.

    `counts`: value in [-1, 1] -> how often it was seen. Raises ValueError for other values, and for a bound that does
    not lie strictly between -1 and 1.

    >>> round(log_mean_above({0.0: 100}, -0.05), 2)
    2.66
    """
    if not -1 < bound < 1:
        raise ValueError(f"a bound of {bound} is not strictly between -1 and 1")
    if any(not -1 <= value <= 1 for value in counts):
        raise ValueError("a value is not between -1 and 1")
    values = np.fromiter(counts.keys(), dtype=np.float64, count=len(counts))
    times = np.fromiter(counts.values(), dtype=np.float64, count=len(counts))
    growth = np.log((1 - _FRACTIONS)[:, None] + _FRACTIONS[:, None] * ((1 + values) / (1 + bound))[None, :])
    capital = growth @ times
    return float(np.logaddexp.reduce(capital) - math.log(len(_FRACTIONS)))


def mean_bounds(counts: Mapping[float, int], delta: float) -> tuple[float, float]:
    """Bounds that hold the mean at all times at once with probability at least 1 - delta; (-1, 1) for no values.

    >>> low, high = mean_bounds({0.0: 380, 1.0: 10, -1.0: 10}, 0.05)
    >>> round(low, 2), round(high, 2)
    (-0.04, 0.04)
    """
    mirrored = {-value: number for value, number in counts.items()}
    return _lower_bound(counts, delta / 2), -_lower_bound(mirrored, delta / 2)


def _lower_bound(counts: Mapping[float, int], delta: float) -> float:
    """The highest bound that the evidence excludes, erring to below."""
    excluded, tenable = -1.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (excluded + tenable) / 2
        if -1 < middle < 1 and log_mean_above(counts, middle) >= -math.log(delta):
            excluded = middle
        else:
            tenable = middle
    return excluded
