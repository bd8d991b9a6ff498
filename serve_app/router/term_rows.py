"""The words of a bank's examples, so that the kernel machine can compare words beside vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from serve_app.router.classifier import Arrays, FloatArray
from serve_app.router.vocabulary import Vocabulary


@dataclass(frozen=True)
class TermRows:
    """TF-IDF of each example, sparse: row i holds entries starts[i] to starts[i + 1]."""

    vocabulary: Vocabulary
    starts: npt.NDArray[np.int32]
    """(num_examples + 1,)."""
    places: npt.NDArray[np.int32]
    """(num_entries,), index into the vocabulary."""
    values: FloatArray
    """(num_entries,), 16 bits of precision."""

    @classmethod
    def of(cls, texts: Sequence[str], vocabulary: Vocabulary) -> TermRows:
        """The rows of these texts."""
        rows = [vocabulary.weighted(text) for text in texts]
        starts = np.cumsum([0, *(len(places) for places, _ in rows)]).astype(np.int32)
        places = np.concatenate([places for places, _ in rows]).astype(np.int32)
        return cls(vocabulary, starts, places, _as_stored(np.concatenate([values for _, values in rows])))

    def where(self, kept: npt.NDArray[np.bool_]) -> TermRows:
        """The rows that `kept`, (num_examples,), marks; the vocabulary stays."""
        lengths = np.diff(self.starts)
        entries = np.repeat(kept, lengths)
        starts = np.concatenate([[0], np.cumsum(lengths[kept])]).astype(np.int32)
        return TermRows(self.vocabulary, starts, self.places[entries], self.values[entries])

    def pulled(self, duals: FloatArray) -> FloatArray:
        """The sum of each term's values times its examples' duals: (num_terms, num_labels)."""
        found = np.zeros((len(self.vocabulary.terms), duals.shape[1]), dtype=np.float32)
        for row, (start, end) in enumerate(zip(self.starts, self.starts[1:], strict=False)):
            found[self.places[start:end]] += self.values[start:end, None] * duals[row]
        return found

    def arrays(self) -> Arrays:
        """Vocabulary and rows."""
        rows: Arrays = {
            "term_starts": self.starts,
            "term_places": self.places,
            "term_values": self.values.astype(np.float16),
        }
        return {**self.vocabulary.arrays(), **rows}

    @classmethod
    def restored(cls, arrays: Arrays, num_examples: int) -> TermRows:
        """From disk. Raises ValueError where shapes do not fit together or a place is out of range."""
        vocabulary = Vocabulary.restored(arrays)
        starts, places, values = (arrays[f"term_{name}"] for name in ("starts", "places", "values"))
        fits = (
            starts.shape == (num_examples + 1,)
            and places.ndim == 1
            and places.shape == values.shape
            and starts[0] == 0
            and starts[-1] == len(places)
            and bool((np.diff(starts) >= 0).all())
            and bool(((places >= 0) & (places < len(vocabulary.terms))).all())
        )
        if not fits:
            raise ValueError("the examples' terms do not fit together")
        return cls(vocabulary, starts.astype(np.int32), places.astype(np.int32), values.astype(np.float32))


def _as_stored(values: FloatArray) -> FloatArray:
    return values.astype(np.float16).astype(np.float32)
