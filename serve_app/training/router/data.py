"""Labelled rows as arrays."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from serve_app.router.classifier import FloatArray
from serve_app.router.domain import FALLBACK_LABEL, TextEncoder
from serve_app.router.examples import as_stored
from serve_app.router.rows import Row
from serve_app.router.text import clip

IntArray = npt.NDArray[np.intp]

Progress = Callable[[str, int, int], object]
"""Stage, steps done, steps in all."""


def silent(stage: str, done: int, total: int) -> None:
    """Progress for nobody."""


@dataclass(frozen=True)
class TrainingSet:
    """Rows of a training run, row by row the same in every field."""

    texts: tuple[str, ...]
    vectors: FloatArray
    """(num_rows, dimension) of length 1, as they come back from disk; (num_rows, 0) where none are needed."""
    labels: IntArray
    """(num_rows,), index into `names`."""
    weights: FloatArray
    """(num_rows,), > 0."""
    sources: tuple[str | None, ...]
    names: tuple[str, ...]
    """All labels, sorted."""

    def __len__(self) -> int:
        return len(self.texts)

    def where(self, kept: npt.NDArray[np.bool_]) -> TrainingSet:
        """The rows that `kept`, (num_rows,), marks; with all names."""
        places = np.flatnonzero(kept)
        return TrainingSet(
            tuple(self.texts[place] for place in places),
            self.vectors[places],
            self.labels[places],
            self.weights[places],
            tuple(self.sources[place] for place in places),
            self.names,
        )

    def joined(self, other: TrainingSet) -> TrainingSet:
        """These rows, then those of `other`; its labels are told by name and must all be known here."""
        index_of = np.array([self.names.index(name) for name in other.names], dtype=np.intp)
        return TrainingSet(
            self.texts + other.texts,
            np.concatenate([self.vectors, other.vectors]),
            np.concatenate([self.labels, index_of[other.labels]]),
            np.concatenate([self.weights, other.weights]),
            self.sources + other.sources,
            self.names,
        )


def encoded(rows: Sequence[Row], encoder: TextEncoder | None, report: Progress) -> TrainingSet:
    """The rows as arrays; without an encoder the vectors are left out."""
    names = tuple(sorted({row.label for row in rows}))
    texts = tuple(clip(row.text) for row in rows)
    vectors = np.zeros((len(rows), 0), dtype=np.float32)
    if encoder is not None:
        vectors = vectors_of(texts, encoder, report)
    return TrainingSet(
        texts,
        vectors,
        np.array([names.index(row.label) for row in rows], dtype=np.intp),
        np.array([row.weight for row in rows], dtype=np.float32),
        tuple(row.source for row in rows),
        names,
    )


def vectors_of(texts: Sequence[str], encoder: TextEncoder, report: Progress) -> FloatArray:
    """(num_texts, dimension), as they come back from disk."""
    found = []
    for done, text in enumerate(texts):
        report("encode", done, len(texts))
        found.append(encoder.encode([text])[0])
    report("encode", len(texts), len(texts))
    return as_stored(np.stack(found))


def label_rows(names: Sequence[str]) -> list[Row]:
    """Each label's own name as one more example of it: worth half a point with ten examples a label.

    The fallback's name says nothing about its texts and is left out.

    >>> [row.text for row in label_rows(["card_arrival", "general"])]
    ['card arrival']
    >>> [row.text for row in label_rows(["Wire-transfer_fee?", "W2"])]
    ['Wire transfer fee', 'W2']
    """
    return [Row(re.sub(r"[\W_]+", " ", name).strip() or name, name) for name in names if name != FALLBACK_LABEL]
