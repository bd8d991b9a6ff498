"""How good an acceptance model is: calibration, separation, and risk against coverage. Pure functions over arrays.

`probability` and `confidence` are of the small answer being acceptable, `right` says whether it was; all (num_rows,).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from serve_app.confidence.model import FloatArray

BoolArray = np.ndarray[Any, np.dtype[np.bool_]]

_BINS = 10
_DRAWS = 400


@dataclass(frozen=True, slots=True)
class Bin:
    """Rows of like probability."""

    stated: float
    """Their mean probability."""
    seen: float
    """Share of them that was right."""
    num_rows: int


@dataclass(frozen=True)
class RiskCoverage:
    """What is wrong among the surest, for each number of them (El-Yaniv and Wiener 2010)."""

    coverage: FloatArray
    """1 / num_rows, 2 / num_rows, … 1."""
    risk: FloatArray
    """Share of wrong rows among so many of the surest; rows of equal confidence share their errors evenly."""

    @property
    def area(self) -> float:
        """AURC: mean risk over all coverages (Geifman and El-Yaniv 2018); lower is better, 0 where nothing is wrong."""
        return float(self.risk.mean())


def reliability(probability: FloatArray, right: BoolArray, num_bins: int = _BINS) -> list[Bin]:
    """Bins of about as many rows each, by rising probability: the points of a reliability diagram.

    Rows of equal probability are in one bin, so that the order of rows does not matter.
    """
    _, place, counts = np.unique(probability, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - counts / 2
    number = (middle / len(right) * num_bins).astype(int)[place]
    parts = [number == found for found in np.unique(number)]
    return [Bin(float(probability[part].mean()), float(right[part].mean()), int(part.sum())) for part in parts]


def expected_calibration_error(probability: FloatArray, right: BoolArray) -> float:
    """Mean gap between stated probability and share right, over ten bins of about as many rows each.

    Few rows have a gap by chance even where the model is calibrated: about 0.06 with 300 rows, 0.03 with 1000.

    >>> expected_calibration_error(np.array([0.75, 0.75, 0.75, 0.75]), np.array([True, True, False, True]))
    0.0
    """
    bins = reliability(probability, right)
    return sum(abs(found.stated - found.seen) * found.num_rows for found in bins) / len(right)


def brier(probability: FloatArray, right: BoolArray) -> float:
    """Mean squared error of the probability; 0 is perfect, 0.25 is always saying one half."""
    return float(((probability - right) ** 2).mean())


def auroc(confidence: FloatArray, right: BoolArray) -> float | None:
    """Probability that a right row has more confidence than a wrong one, ties counted half; None without both kinds.

    >>> auroc(np.array([0.9, 0.4, 0.4]), np.array([True, True, False]))
    0.75
    """
    num_right, num_wrong = int(right.sum()), int((~right).sum())
    if num_right == 0 or num_wrong == 0:
        return None
    _, place, counts = np.unique(confidence, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return float((ranks[right].sum() - num_right * (num_right + 1) / 2) / (num_right * num_wrong))


def risk_coverage(confidence: FloatArray, right: BoolArray) -> RiskCoverage:
    """The curve over all numbers of accepted rows, the surest first.

    >>> risk_coverage(np.array([0.9, 0.5, 0.5]), np.array([True, True, False])).risk.round(3).tolist()
    [0.0, 0.25, 0.333]
    """
    order = np.argsort(-confidence, kind="stable")
    _, place = np.unique(-confidence[order], return_inverse=True)
    wrong = (~right[order]).astype(np.float64)
    evened = (np.bincount(place, weights=wrong) / np.bincount(place))[place]
    counts = np.arange(1, len(order) + 1)
    return RiskCoverage(counts / len(order), np.cumsum(evened) / counts)


def bootstrap(
    statistic: Callable[[FloatArray, BoolArray], float | None], values: FloatArray, right: BoolArray, seed: int = 0
) -> tuple[float, float] | None:
    """The 95 % percentile interval of a statistic over resampled rows; None where it was defined in no resample."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(_DRAWS):
        rows = random.integers(0, len(right), len(right))
        value = statistic(values[rows], right[rows])
        if value is not None:
            found.append(value)
    if not found:
        return None
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)
