"""Probabilities from labelled examples: a vote of the nearest, mixed with a kernel machine over all of them.

The neighbours carry over to texts unlike the training ones, the kernel machine draws the smoother border between two
labels, and both need only the similarities of the query to the bank: one matrix-vector product in numpy. Reading the
bank from memory is most of the time, so the kernel machine may compare a few principal directions of the vectors, and
only the nearest there are compared whole. It may also compare words, which pays where many labels differ by a word. A
query far from every example gets near equal probabilities, so the floor finds it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from serve_app.router.classifier import Arrays, FloatArray, Settings, softmax
from serve_app.router.term_rows import TermRows

STORED = {"vectors": np.float16, "labels": np.int32, "weights": np.float32, "duals": np.float32}
"""The arrays of every bank on disk. Vectors take 16 bits, so training must fit what comes back (`as_stored`)."""

_UNSEEN = 1e-3
"""Added to each label's share of the neighbours, so that no label is impossible."""
_SHARPNESS = np.float32(3.0)
"""The kernel machine's outputs run from -1 to 1 per label; this times their softmax gives usable probabilities."""
_NUM_CANDIDATES = 200
"""So many examples, nearest in the principal directions, are compared whole."""


class Shape(Settings):
    """The hyperparameters that inference needs; chosen by validation, see training/router/recipe.py."""

    kind: Literal["examples"] = "examples"
    num_neighbours: int = Field(ge=1)
    softness: float = Field(gt=0)
    """Similarities are divided by this before the neighbours' softmax."""
    kernel_width: float = Field(gt=0)
    """Gamma of the kernel exp(-gamma |x - y|^2)."""
    neighbour_share: float = Field(ge=0, le=1)
    """Part of the neighbours in the mixture; the rest is the kernel machine's."""
    term_share: float = Field(0.0, ge=0)
    """What the similarity of words counts beside the kernel of vectors; 0: words are not looked at."""
    num_directions: int = Field(0, ge=0)
    """How many principal directions of the vectors the kernel machine compares; 0: the vectors themselves."""


@dataclass(frozen=True)
class Bank:
    """The labelled examples."""

    vectors: FloatArray
    """(num_examples, dimension), rows of length 1."""
    labels: npt.NDArray[np.intp]
    """(num_examples,), index into the classifier's labels."""
    weights: FloatArray
    """(num_examples,), > 0: how much an example counts."""
    duals: FloatArray
    """(num_examples, num_labels): how an example pulls on each label in the kernel machine."""
    terms: TermRows | None = None
    """The examples' words; None where they are not looked at."""
    directions: FloatArray | None = None
    """(dimension, num_directions), orthogonal columns; None where vectors are compared whole."""

    @cached_property
    def compared(self) -> FloatArray:
        """What the kernel machine compares: (num_examples, num_directions or dimension), rows of length 1."""
        return self.vectors if self.directions is None else turned(self.vectors, self.directions)


@dataclass(frozen=True)
class Examples:
    """Nearest neighbours and kernel machine over one bank."""

    bank: Bank
    settings: Shape

    reads_vector = True

    def probabilities(self, text: str, vector: FloatArray) -> FloatArray:
        """The two parts' weighted mean, (num_labels,). A part of no share is skipped."""
        bank, shape = self.bank, self.settings
        query = vector if bank.directions is None else turned(vector, bank.directions)
        similarities = bank.compared @ query
        if shape.neighbour_share == 1:
            return self._near(vector, similarities)
        outputs = kernel(shape, similarities) @ bank.duals
        if self._pulled is not None and bank.terms is not None:
            places, values = bank.terms.vocabulary.weighted(text)
            outputs = outputs + values @ self._pulled[places]
        smooth = kernel_softmax(outputs)
        if shape.neighbour_share == 0:
            return smooth
        return mixed(self._near(vector, similarities), smooth, shape.neighbour_share)

    def _near(self, vector: FloatArray, similarities: FloatArray) -> FloatArray:
        """The neighbours' view; `similarities`, (num_examples,), of what is compared tell where to look."""
        bank = self.bank
        if bank.directions is None:
            return neighbour_shares(bank, self.settings, similarities)
        near = largest(similarities, _NUM_CANDIDATES)
        among = replace(bank, vectors=bank.vectors[near], labels=bank.labels[near], weights=bank.weights[near])
        return neighbour_shares(among, self.settings, among.vectors @ vector)

    @cached_property
    def _pulled(self) -> FloatArray | None:
        """(num_terms, num_labels): what each word adds to the outputs."""
        if self.bank.terms is None:
            return None
        return self.bank.terms.pulled(self.bank.duals) * np.float32(self.settings.term_share)

    def arrays(self) -> Arrays:
        """The bank."""
        found: dict[str, npt.NDArray[Any]] = {
            name: getattr(self.bank, name).astype(kind) for name, kind in STORED.items()
        }
        if self.bank.terms is not None:
            found |= self.bank.terms.arrays()
        if self.bank.directions is not None:
            found["directions"] = self.bank.directions
        return found

    @classmethod
    def restored(cls, settings: Shape, arrays: Arrays, num_labels: int) -> Examples:
        """From disk. Raises ValueError where shapes do not fit together or a label is out of range."""
        bank = Bank(
            arrays["vectors"].astype(np.float32),
            arrays["labels"].astype(np.intp),
            arrays["weights"].astype(np.float32),
            arrays["duals"].astype(np.float32),
            TermRows.restored(arrays, len(arrays["labels"])) if settings.term_share else None,
            arrays["directions"].astype(np.float32) if settings.num_directions else None,
        )
        num_examples = len(bank.labels)
        fits = (
            num_examples > 0
            and bank.vectors.ndim == 2
            and bank.labels.shape == bank.weights.shape == (num_examples,)
            and len(bank.vectors) == num_examples
            and bank.duals.shape == (num_examples, num_labels)
            and bool(((bank.labels >= 0) & (bank.labels < num_labels)).all())
            and (bank.directions is None or bank.directions.shape[:-1] == bank.vectors.shape[1:])
        )
        if not fits:
            raise ValueError("the examples' arrays do not fit together")
        return cls(bank, settings).ready()

    def ready(self) -> Examples:
        """Itself, with what the first query would wait for computed."""
        self.probabilities("", self.bank.vectors[0])
        return self


def as_stored(vectors: FloatArray) -> FloatArray:
    """Vectors as they come back from disk, so that training fits what serving will see."""
    return vectors.astype(STORED["vectors"]).astype(np.float32)


def turned(vectors: FloatArray, directions: FloatArray) -> FloatArray:
    """Vectors, (..., dimension), in principal directions, (..., num_directions), again of length 1."""
    products = vectors @ directions
    length = np.sqrt((products * products).sum(axis=-1, keepdims=True))
    found: FloatArray = (products / np.maximum(length, 1e-9)).astype(np.float32)
    return found


def largest(similarities: FloatArray, num: int) -> npt.NDArray[np.intp]:
    """Places of the largest, in no order, (num,); all where there are not more."""
    if num >= len(similarities):
        return np.arange(len(similarities))
    found: npt.NDArray[np.intp] = np.argpartition(similarities, -num)[-num:]
    return found


def mixed(near: FloatArray, smooth: FloatArray, neighbour_share: float) -> FloatArray:
    """The weighted mean of the neighbours' and the kernel machine's view, (..., num_labels)."""
    return (neighbour_share * near + (1 - neighbour_share) * smooth).astype(np.float32)


def neighbour_shares(bank: Bank, shape: Shape, similarities: FloatArray) -> FloatArray:
    """Each label's weighted share among the nearest, (num_labels,)."""
    nearest = largest(similarities, shape.num_neighbours)
    closeness = similarities[nearest]
    votes = np.exp((closeness - closeness.max()) / shape.softness) * bank.weights[nearest]
    shares = np.bincount(bank.labels[nearest], weights=votes, minlength=bank.duals.shape[1]) + _UNSEEN
    found: FloatArray = (shares / shares.sum()).astype(np.float32)
    return found


def kernel(shape: Shape, similarities: FloatArray) -> FloatArray:
    """exp(-gamma |x - y|^2); vectors of length 1 turn the squared distance into 2 - 2 x similarity."""
    found: FloatArray = np.exp((similarities - 1) * np.float32(2 * shape.kernel_width))
    return found


def kernel_softmax(outputs: FloatArray) -> FloatArray:
    """Probabilities from the kernel machine's outputs, (..., num_labels)."""
    return softmax(outputs * _SHARPNESS)
