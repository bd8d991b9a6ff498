"""The sequence of thresholds that Learn-then-Test walks down, fixed without the labels that the tests use.

Each threshold is the confidence of one row of the threshold part, and accepts the rows strictly above it. Given that
number, the rows above it are independent draws from the queries it accepts, so the binomial test is exact; which rows
those are, and how many, was settled without their labels. Where the walk begins is settled by the acceptance model: at
the number of accepted rows whose test is likeliest to pass by the model's own probabilities. Beginning at the
strictest winnable threshold would often stop there, on one unlucky answer among 45, though a looser one with more rows
to average over would pass.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import bdtr

from serve_app.confidence.model import FloatArray
from serve_app.confidence.risk import clopper_pearson_upper, fewest_accepted
from serve_app.training.cascade.table import BoolArray, IntArray

_STRICTER_STEP = 0.05
"""Share of the rows by which a tightened threshold accepts fewer."""


@dataclass(frozen=True)
class Sequence:
    """Thresholds, strictest first, and who is accepted by each."""

    thresholds: FloatArray
    """(num_thresholds,), falling strictly."""
    accepts: BoolArray
    """(num_thresholds, num_rows)."""


def fix_sequence(confidence: FloatArray, probability: FloatArray, alpha: float, delta: float) -> Sequence:
    """From the likeliest number of accepted rows down to accepting all; empty where none can be tested.

    `confidence` (num_rows,) is compared with thresholds, `probability` (num_rows,) is that the answer is acceptable.
    No labels go in.
    """
    thresholds = every_threshold(confidence)
    accepts = confidence > thresholds[:, None]
    num_accepted = accepts.sum(axis=1)
    winnable = num_accepted >= fewest_accepted(alpha, delta)
    thresholds, accepts, num_accepted = thresholds[winnable], accepts[winnable], num_accepted[winnable]
    if len(thresholds) == 0:
        return Sequence(thresholds, accepts)
    expected_risk = (accepts * (1 - probability)).sum(axis=1) / num_accepted
    chance = bdtr(most_wrong(num_accepted, alpha, delta), num_accepted, expected_risk)
    begin = int(chance.argmax())
    return Sequence(thresholds[begin:], accepts[begin:])


def every_threshold(confidence: FloatArray) -> FloatArray:
    """All that differ in whom they accept, falling, down to 0, which accepts all."""
    return np.append(np.unique(confidence)[::-1], 0.0)


def stricter_thresholds(confidence: FloatArray, threshold: float) -> tuple[float, ...]:
    """`threshold` and those above it that accept 5 % of the rows fewer each, falling: the steps of `tighten`."""
    ordered = np.sort(confidence)
    step = max(round(_STRICTER_STEP * len(ordered)), 1)
    first = int((ordered <= threshold).sum()) - 1 + step
    steps = {float(ordered[index]) for index in range(first, len(ordered) - 1, step)}
    return (*sorted((value for value in steps if value > threshold), reverse=True), threshold)


def most_wrong(num_accepted: IntArray, alpha: float, delta: float) -> IntArray:
    """Wrong answers with which a test still passes, for each number of accepted rows; -1: not even with none.

    >>> most_wrong(np.array([44, 45, 132]), 0.05, 0.1).tolist()
    [-1, 0, 3]
    """
    found = np.full(len(num_accepted), -1)
    allowed = -1
    for position in np.argsort(num_accepted, kind="stable"):
        count = int(num_accepted[position])
        while allowed + 1 < count and clopper_pearson_upper(allowed + 1, count, delta) <= alpha:
            allowed += 1
        found[position] = allowed
    return found
