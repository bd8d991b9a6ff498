"""Probabilities from one weight per label and dimension of the vector: multinomial logistic regression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from serve_app.router.classifier import Arrays, FloatArray, Settings, softmax


class LinearSettings(Settings):
    """Nothing beyond the kind: all is in the arrays."""

    kind: Literal["linear"] = "linear"


@dataclass(frozen=True)
class Linear:
    """softmax(vector @ weights + offsets)."""

    weights: FloatArray
    """(dimension, num_labels)."""
    offsets: FloatArray
    """(num_labels,)."""

    settings = LinearSettings()
    reads_vector = True

    def probabilities(self, text: str, vector: FloatArray) -> FloatArray:
        """(num_labels,), summing to 1."""
        return softmax(vector @ self.weights + self.offsets)

    def arrays(self) -> Arrays:
        """Weights and offsets."""
        return {"weights": self.weights.astype(np.float32), "offsets": self.offsets.astype(np.float32)}

    @classmethod
    def restored(cls, arrays: Arrays, num_labels: int) -> Linear:
        """From disk. Raises ValueError where shapes do not fit together."""
        weights, offsets = arrays["weights"].astype(np.float32), arrays["offsets"].astype(np.float32)
        if weights.ndim != 2 or weights.shape[1] != num_labels or offsets.shape != (num_labels,):
            raise ValueError("weights and offsets do not fit together")
        return cls(weights, offsets)
