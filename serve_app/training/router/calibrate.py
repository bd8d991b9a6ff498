"""Makes probabilities mean what they say, and finds the floor, both from out-of-fold predictions."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from serve_app.router.classifier import FloatArray, calibrated
from serve_app.training.router.data import IntArray

_FLOORS = np.arange(0.0, 0.71, 0.05)
_FLOOR_COST = 0.0005


def fit_temperature(probabilities: FloatArray, labels: IntArray) -> float:
    """The temperature with the least negative log-likelihood, 0.1 to 5; shapes (num_rows, num_labels), (num_rows,)."""

    def loss(log_temperature: float) -> float:
        found = calibrated(probabilities, float(np.exp(log_temperature)))
        picked = found[np.arange(len(labels)), labels].astype(np.float64)
        return float(-np.log(np.maximum(picked, 1e-9)).mean())

    found = minimize_scalar(loss, bounds=(np.log(0.1), np.log(5.0)), method="bounded")
    return round(float(np.exp(found.x)), 3)


def pick_floor(probabilities: FloatArray, labels: IntArray, fallback_index: int | None) -> float:
    """The highest floor that costs at most _FLOOR_COST of the accuracy; 0 where the labels have no fallback.

    A row under the floor is called the fallback, which is right only when that is its label. As high as it can be,
    because a specialist on a foreign subject does more harm than the bare base on a specialist's.
    """
    if fallback_index is None:
        return 0.0
    best, top = probabilities.argmax(axis=1), probabilities.max(axis=1)
    right = [float((np.where(top < floor, fallback_index, best) == labels).mean()) for floor in _FLOORS]
    allowed = [floor for floor, share in zip(_FLOORS, right, strict=True) if share >= max(right) - _FLOOR_COST]
    return round(float(max(allowed)), 2)


def floor_for(probabilities: FloatArray, labels: IntArray, fallback_index: int | None, false_rejection: float) -> float:
    """The highest floor, in steps of 0.0001, at which at most that share of the rows of known labels is rejected.

    A row is rejected when its best label is the fallback or its probability is below the floor. 0 where the fallback
    alone takes more.

    Of four rows of two known labels, one may be rejected:

    >>> probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.25, 0.75], [0.45, 0.55]], dtype=np.float32)
    >>> floor_for(probabilities, np.array([0, 0, 1, 1]), None, 0.25)
    0.75
    """
    known = labels != fallback_index if fallback_index is not None else np.ones(len(labels), dtype=np.bool_)
    best, top = probabilities[known].argmax(axis=1), probabilities[known].max(axis=1).astype(np.float64)
    kept = np.where(best == fallback_index, -1.0, top) if fallback_index is not None else top
    num_allowed = int(false_rejection * len(kept))
    lowest_kept = float(np.sort(kept)[min(num_allowed, len(kept) - 1)])
    return max(0.0, math.floor(lowest_kept * 10_000) / 10_000)


def rejected(probabilities: FloatArray, floor: float, fallback_index: int | None) -> npt.NDArray[np.bool_]:
    """Which rows end at the fallback, (num_rows,)."""
    found: npt.NDArray[np.bool_] = probabilities.max(axis=1) < floor
    if fallback_index is not None:
        found = found | (probabilities.argmax(axis=1) == fallback_index)
    return found
