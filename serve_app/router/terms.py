"""Probabilities from words: TF-IDF of words and word pairs with logistic regression. Needs no encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from serve_app.router.classifier import Arrays, FloatArray, Settings, softmax
from serve_app.router.vocabulary import Vocabulary


class TermsSettings(Settings):
    """Nothing beyond the kind: all is in the arrays."""

    kind: Literal["terms"] = "terms"


@dataclass(frozen=True)
class Terms:
    """softmax(tfidf(text) @ weights + offsets)."""

    vocabulary: Vocabulary
    weights: FloatArray
    """(num_terms, num_labels)."""
    offsets: FloatArray
    """(num_labels,)."""

    settings = TermsSettings()
    reads_vector = False

    def probabilities(self, text: str, vector: FloatArray) -> FloatArray:
        """(num_labels,), summing to 1; a text without a known term gets what the offsets say."""
        places, values = self.vocabulary.weighted(text)
        return softmax(values @ self.weights[places] + self.offsets)

    def arrays(self) -> Arrays:
        """The vocabulary, and the weights in 16 bits."""
        weights: Arrays = {"weights": self.weights.astype(np.float16), "offsets": self.offsets.astype(np.float32)}
        return {**self.vocabulary.arrays(), **weights}

    @classmethod
    def restored(cls, arrays: Arrays, num_labels: int) -> Terms:
        """From disk. Raises ValueError where shapes do not fit together."""
        vocabulary = Vocabulary.restored(arrays)
        weights, offsets = arrays["weights"].astype(np.float32), arrays["offsets"].astype(np.float32)
        if weights.shape != (len(vocabulary.terms), num_labels) or offsets.shape != (num_labels,):
            raise ValueError("terms and weights do not fit together")
        return cls(vocabulary, weights, offsets)
