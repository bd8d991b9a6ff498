"""Probabilities from a vector: a vote of the nearest labelled examples, mixed with a kernel machine over all of them.

The neighbours carry over to texts unlike the training ones, the kernel machine draws the smoother border between two
domains, and both need only the similarities of the query to the bank: one matrix-vector product in numpy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

_UNSEEN = 1e-3
"""Added to each label's share of the neighbours, so that no label is impossible."""
_SHARPNESS = np.float32(3.0)
"""The kernel machine's outputs run from -1 to 1 per label; this times their softmax gives usable probabilities."""


@dataclass(frozen=True)
class Bank:
    """The labelled examples."""

    vectors: FloatArray
    """(num_examples, dimension), rows of length 1."""
    labels: npt.NDArray[np.intp]
    """(num_examples,), index into the classifier's labels."""
    weights: FloatArray
    """(num_examples,), > 0: how much an example counts among the neighbours."""
    duals: FloatArray
    """(num_examples, num_labels): how an example pulls on each label in the kernel machine."""


@dataclass(frozen=True)
class Shape:
    """The hyperparameters that inference needs; chosen by validation, see training/router/recipe.py."""

    num_neighbours: int
    softness: float
    """Similarities are divided by this before the neighbours' softmax."""
    kernel_width: float
    """Gamma of the kernel exp(-gamma |x - y|^2)."""
    neighbour_share: float
    """Part of the neighbours in the mixture, 0 to 1; the rest is the kernel machine's."""


@dataclass(frozen=True)
class Classifier:
    """What training writes and serving reads. Changes nothing, so it is safe to share between threads."""

    labels: tuple[str, ...]
    bank: Bank
    shape: Shape
    temperature: float
    """The mixture's logarithm is divided by this: above 1 tones it down."""

    def probabilities(self, vector: FloatArray) -> FloatArray:
        """Calibrated, (num_labels,), summing to 1; `vector` is (dimension,) of length 1."""
        return calibrated(mixture(self.bank, self.shape, vector), self.temperature)


def mixture(bank: Bank, shape: Shape, vector: FloatArray) -> FloatArray:
    """The two models' weighted mean before calibration, (num_labels,)."""
    similarities = bank.vectors @ vector
    near = neighbour_shares(bank, shape, similarities)
    smooth = kernel_probabilities(bank, shape, similarities)
    return (shape.neighbour_share * near + (1 - shape.neighbour_share) * smooth).astype(np.float32)


def neighbour_shares(bank: Bank, shape: Shape, similarities: FloatArray) -> FloatArray:
    """Each label's weighted share among the nearest, (num_labels,); `similarities` is (num_examples,)."""
    if shape.num_neighbours < len(similarities):
        nearest = np.argpartition(similarities, -shape.num_neighbours)[-shape.num_neighbours :]
    else:
        nearest = np.arange(len(similarities))
    closeness = similarities[nearest]
    votes = np.exp((closeness - closeness.max()) / shape.softness) * bank.weights[nearest]
    shares = np.bincount(bank.labels[nearest], weights=votes, minlength=bank.duals.shape[1]) + _UNSEEN
    found: FloatArray = (shares / shares.sum()).astype(np.float32)
    return found


def kernel_probabilities(bank: Bank, shape: Shape, similarities: FloatArray) -> FloatArray:
    """The kernel machine's view, (num_labels,); vectors of length 1 turn the distance into 2 - 2 x similarity."""
    kernel = np.exp((similarities - 1) * np.float32(2 * shape.kernel_width))
    return softmax((kernel @ bank.duals) * _SHARPNESS)


def softmax(logits: FloatArray) -> FloatArray:
    """Along the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    found: FloatArray = (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)
    return found


def calibrated(mixed: FloatArray, temperature: float) -> FloatArray:
    """Temperature scaling of probabilities, (..., num_labels).

    >>> calibrated(np.array([0.8, 0.2], dtype=np.float32), 2.0).round(2).tolist() == np.float32([0.67, 0.33]).tolist()
    True
    """
    logits: FloatArray = (np.log(np.maximum(mixed, 1e-9)) / temperature).astype(np.float32)
    return softmax(logits)
