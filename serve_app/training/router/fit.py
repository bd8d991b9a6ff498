"""Fits the bank: stores the examples and solves the kernel machine over them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.kernel_ridge import KernelRidge

from serve_app.router.classifier import Bank, FloatArray, mixture
from serve_app.training.router.recipe import Recipe

IntArray = npt.NDArray[np.intp]


def fit(vectors: FloatArray, labels: IntArray, weights: FloatArray, num_labels: int, recipe: Recipe) -> Bank:
    """Kernel ridge regression onto one +1/-1 target per label; deterministic.

    `vectors`: (num_rows, dimension) of length 1; memory grows with the square of num_rows.
    """
    similarities = vectors.astype(np.float64) @ vectors.T
    kernel = np.exp((similarities - 1) * (2 * recipe.kernel_width))
    targets = np.where(labels[:, None] == np.arange(num_labels), 1.0, -1.0)
    machine = KernelRidge(alpha=recipe.ridge, kernel="precomputed")
    machine.fit(kernel, targets, sample_weight=weights.astype(np.float64))
    return Bank(vectors, labels, weights, machine.dual_coef_.astype(np.float32))


def predict(bank: Bank, recipe: Recipe, vectors: FloatArray) -> FloatArray:
    """Uncalibrated probabilities by the code that serves, (num_rows, num_labels)."""
    return np.stack([mixture(bank, recipe.shape, vector) for vector in vectors])
