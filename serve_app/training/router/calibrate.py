"""Makes probabilities mean what they say, and finds the floor, both from out-of-fold predictions."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar

from serve_app.router.classifier import FloatArray, calibrated
from serve_app.training.router.fit import IntArray

_FLOORS = np.arange(0.0, 0.71, 0.05)
_FLOOR_COST = 0.002


def fit_temperature(mixtures: FloatArray, labels: IntArray) -> float:
    """The temperature with the least negative log-likelihood, 0.2 to 5; shapes (num_rows, num_labels), (num_rows,)."""

    def loss(log_temperature: float) -> float:
        probabilities = calibrated(mixtures, float(np.exp(log_temperature)))
        picked = probabilities[np.arange(len(labels)), labels].astype(np.float64)
        return float(-np.log(np.maximum(picked, 1e-9)).mean())

    found = minimize_scalar(loss, bounds=(np.log(0.2), np.log(5.0)), method="bounded")
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
