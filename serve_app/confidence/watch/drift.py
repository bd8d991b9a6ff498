"""Has a signal changed since the policy was fitted? Population stability index and Kolmogorov-Smirnov statistic.

A change of the signals does not break the guarantee by itself, but the guarantee was made for the old traffic. Neither
figure is a test with an error probability over time: they point, the audits decide.
"""

import math
from collections import deque
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np

from serve_app.confidence.watch.reference import FloatArray, Reference

PSI_MODERATE, PSI_MAJOR = 0.1, 0.25
"""The usual reading (Siddiqi 2006, "Credit Risk Scorecards"): below the first nothing has changed, above the second
the population is another one."""
MIN_DECISIONS = 100
"""With fewer values in the window nothing is said."""
_CHANCE = 0.001
"""How often a signal that did not change may reach `Drift.noise` in a window."""
_DECILES = slice(10, 100, 10)
_HALF = 0.5
"""Added to each count, so that an empty bin has a logarithm."""

Level = Literal["unknown", "stable", "moderate", "major"]


@dataclass(frozen=True, slots=True)
class Drift:
    """One signal of one route, window against reference."""

    num_values: int
    """In the window."""
    psi: float | None
    """Sum over the reference's deciles of (seen - expected) log(seen / expected); None: too few values to say."""
    ks: float | None
    """Largest distance between the two distribution functions, to a resolution of 0.01; None like `psi`."""
    noise: float
    """A `psi` that chance alone reaches in one of 1,000 windows of this size."""

    @property
    def level(self) -> Level:
        """The usual reading of `psi`, where it is more than noise."""
        if self.psi is None:
            return "unknown"
        if self.beyond(PSI_MAJOR):
            return "major"
        return "moderate" if self.beyond(PSI_MODERATE) else "stable"

    def beyond(self, psi: float) -> bool:
        """Whether the index reaches this value, and the noise."""
        return self.psi is not None and self.psi >= max(psi, self.noise)


class SignalWindow:
    """The last values of one signal, beside its reference. Reading it costs one sort of the window."""

    def __init__(self, reference: Reference, size: int) -> None:
        self._reference = reference
        self._values: deque[float] = deque(maxlen=size)
        quantiles = np.asarray(reference.quantiles)
        self._points = np.unique(quantiles)
        edges = np.unique(quantiles[_DECILES])
        shares = reference.share_up_to(edges)
        self._edges = edges[shares < 1]  # ties at the top leave nothing above them to compare
        self._expected = np.diff(shares[shares < 1], prepend=0.0, append=1.0)

    def add(self, value: float) -> None:
        """Take one value; the oldest leaves a full window."""
        self._values.append(value)

    def drift(self) -> Drift:
        """The figures of the window as it is."""
        num_values, noise = len(self._values), self._noise()
        if num_values < MIN_DECISIONS:
            return Drift(num_values, None, None, noise)
        values = np.sort(np.asarray(self._values, dtype=np.float64))
        return Drift(num_values, self._psi(values), self._ks(values), noise)

    def _psi(self, values: FloatArray) -> float:
        cumulated = np.searchsorted(values, self._edges, side="right")
        counts = np.diff(cumulated, prepend=0, append=values.size) + _HALF
        seen = counts / counts.sum()
        return float(np.sum((seen - self._expected) * np.log(seen / self._expected)))

    def _ks(self, values: FloatArray) -> float:
        """At each percentile and just below it: with ties the functions jump, and both sides of a jump count."""
        up_to = np.searchsorted(values, self._points, side="right") / values.size
        below = np.searchsorted(values, self._points, side="left") / values.size
        distances = (
            np.abs(up_to - self._reference.share_up_to(self._points)),
            np.abs(below - self._reference.share_below(self._points)),
        )
        return float(np.max(distances))

    def _noise(self) -> float:
        """Without drift the index is about (1/n + 1/m) chi-squared with bins - 1 degrees of freedom (Yurdakul 2018)."""
        num_values, freedom = len(self._values), self._edges.size
        if not num_values or not freedom:
            return 0.0
        return (1 / num_values + 1 / self._reference.num_values) * _chi_squared(freedom)


def _chi_squared(freedom: int) -> float:
    """The quantile that chi-squared exceeds with probability `_CHANCE` (Wilson & Hilferty 1931).

    >>> round(_chi_squared(9), 1)  # exactly: 27.9
    28.1
    """
    spread = 2 / (9 * freedom)
    return freedom * (1 - spread + NormalDist().inv_cdf(1 - _CHANCE) * math.sqrt(spread)) ** 3
