"""Probabilities from a small neural network over the vector: one hidden layer of rectified units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from serve_app.router.classifier import Arrays, FloatArray, Settings, softmax

_NAMES = ("hidden_weights", "hidden_offsets", "weights", "offsets")


class NetworkSettings(Settings):
    """Nothing beyond the kind: all is in the arrays."""

    kind: Literal["network"] = "network"


@dataclass(frozen=True)
class Network:
    """softmax(max(0, vector @ hidden_weights + hidden_offsets) @ weights + offsets)."""

    hidden_weights: FloatArray
    """(dimension, num_hidden)."""
    hidden_offsets: FloatArray
    """(num_hidden,)."""
    weights: FloatArray
    """(num_hidden, num_labels)."""
    offsets: FloatArray
    """(num_labels,)."""

    settings = NetworkSettings()
    reads_vector = True

    def probabilities(self, text: str, vector: FloatArray) -> FloatArray:
        """(num_labels,), summing to 1."""
        hidden = np.maximum(vector @ self.hidden_weights + self.hidden_offsets, 0)
        return softmax(hidden @ self.weights + self.offsets)

    def arrays(self) -> Arrays:
        """Both layers."""
        return {name: getattr(self, name).astype(np.float32) for name in _NAMES}

    @classmethod
    def restored(cls, arrays: Arrays, num_labels: int) -> Network:
        """From disk. Raises ValueError where shapes do not fit together."""
        found = cls(*(arrays[name].astype(np.float32) for name in _NAMES))
        num_hidden = len(found.weights)
        fits = (
            found.hidden_weights.ndim == 2
            and found.hidden_weights.shape[1] == num_hidden
            and found.hidden_offsets.shape == (num_hidden,)
            and found.weights.shape == (num_hidden, num_labels)
            and found.offsets.shape == (num_labels,)
        )
        if not fits:
            raise ValueError("the layers' arrays do not fit together")
        return found
