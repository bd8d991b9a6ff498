"""A threshold with a finite-sample guarantee: Learn-then-Test (Angelopoulos et al. 2021, arXiv:2110.01052).

Risk is the share of wrong answers among the accepted ones. For each threshold of a sequence that is fixed before any
label is seen, "its risk is above alpha" is tested with the exact binomial tail (Clopper and Pearson 1934) on labelled
rows that had no part in the acceptance model. The tests go down the sequence and stop at the first that fails.
Fixed-sequence testing keeps the probability of any false pass at most delta, without a correction for the number of
thresholds: a false pass needs the first threshold of the sequence whose risk really is above alpha to pass its own
test.

The guarantee is about queries drawn as the labelled rows were. It ends when the traffic, the adapter or the models
change.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import bdtr, betaincinv

BoolArray = np.ndarray[Any, np.dtype[np.bool_]]

_MOST_LABELS = 100_000
"""More than anybody labels for one route: the search for how many are needed ends here."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The least strict threshold that passed."""

    index: int
    """Into the sequence."""
    num_accepted: int
    num_wrong: int
    """Included in num_accepted."""
    risk_bound: float
    """Clopper-Pearson upper bound of this threshold's risk at level delta; at most alpha."""


@dataclass(frozen=True, slots=True)
class Refused:
    """No threshold can be trusted. The figures are of the one where the tests stopped; zeros where none was tested."""

    num_accepted: int = 0
    num_wrong: int = 0
    risk_bound: float = 1.0


def clopper_pearson_upper(num_wrong: int, num_rows: int, delta: float) -> float:
    """The risk is at most this with probability at least 1 - delta; 1 for no rows.

    >>> round(clopper_pearson_upper(0, 45, 0.1), 4), round(clopper_pearson_upper(3, 132, 0.1), 4)
    (0.0499, 0.0499)
    """
    if num_rows == 0 or num_wrong == num_rows:
        return 1.0
    return float(betaincinv(num_wrong + 1, num_rows - num_wrong, 1 - delta))


def clopper_pearson_lower(num_wrong: int, num_rows: int, delta: float) -> float:
    """The risk is at least this with probability at least 1 - delta; 0 for no rows."""
    return 1.0 - clopper_pearson_upper(num_rows - num_wrong, num_rows, delta) if num_rows else 0.0


def labels_needed(alpha: float, delta: float, observed_risk: float) -> int | None:
    """Accepted labelled rows at which a threshold with this observed risk passes; None: at no number that can be had.

    >>> [labels_needed(0.05, 0.1, risk) for risk in (0.0, 0.02, 0.03, 0.04, 0.05)]
    [45, 132, 258, 873, None]
    """
    if observed_risk >= alpha:
        return None
    start, count = 1, 1024
    while start < _MOST_LABELS:
        rows = np.arange(start, start + count)
        wrong = np.ceil(observed_risk * rows - 1e-9)
        passes = (wrong < rows) & (bdtr(np.minimum(wrong, rows), rows, alpha) <= delta)
        if passes.any():
            return int(rows[passes.argmax()])
        start, count = start + count, count * 2
    return None


def choose(
    accepts: BoolArray, wrong: BoolArray, alpha: float, delta: float, min_accepted: int | None = None
) -> Chosen | Refused:
    """Walk down the sequence; the last threshold before the first failed test.

    `accepts` (num_thresholds, num_rows), strictest first, must not depend on `wrong` (num_rows). Thresholds that accept
    fewer than `min_accepted` rows are passed over untested: how many a threshold accepts depends on no label, so the
    sequence stays fixed. By default those are passed over that could not pass with no wrong answer at all.
    """
    if min_accepted is None:
        min_accepted = fewest_accepted(alpha, delta)
    best: Chosen | None = None
    for index, accepted in enumerate(accepts):
        num_accepted = int(accepted.sum())
        if num_accepted < min_accepted:
            continue
        num_wrong = int((accepted & wrong).sum())
        bound = clopper_pearson_upper(num_wrong, num_accepted, delta)
        if bound > alpha:
            return best or Refused(num_accepted, num_wrong, bound)
        best = Chosen(index, num_accepted, num_wrong, bound)
    return best or Refused()


def fewest_accepted(alpha: float, delta: float) -> int:
    """Rows that a threshold has to accept for its test to be winnable: with none of them wrong, (1 - alpha)^n <= delta.

    >>> fewest_accepted(0.05, 0.1)
    45
    """
    return math.ceil(math.log(delta) / math.log1p(-alpha))


def empirical(accepts: BoolArray, wrong: BoolArray, alpha: float) -> Chosen | Refused:
    """The usual way, for comparison: the threshold that accepts most with an observed risk of at most alpha.

    It keeps alpha about half of the time: the rows that chose the threshold also judge it. `risk_bound` is the
    observed risk.
    """
    counts, errors = accepts.sum(axis=1), (accepts & wrong).sum(axis=1)
    fits = (counts > 0) & (errors <= alpha * counts)
    if not fits.any():
        return Refused()
    index = int(np.where(fits, counts, -1).argmax())
    return Chosen(index, int(counts[index]), int(errors[index]), float(errors[index] / counts[index]))
