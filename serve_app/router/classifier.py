"""What a trained router computes: a model's probabilities of a text, calibrated.

text, vector ──model──▶ probabilities ──temperature──▶ calibrated probabilities
                examples.py   labelled examples: nearest neighbours and a kernel machine
                linear.py     one weight per label and dimension of the vector
                network.py    one hidden layer over the vector
                terms.py      weighted words and pairs of words, no vector
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

FloatArray = npt.NDArray[np.float32]
Arrays = Mapping[str, npt.NDArray[Any]]


class Settings(BaseModel):
    """The numbers and words of a model, as `router.json` holds them; its arrays are kept apart."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Model(Protocol):
    """Gives uncalibrated probabilities. Changes nothing, so it is safe to share between threads."""

    @property
    def settings(self) -> Settings:
        """What `router.json` holds of it."""
        ...

    @property
    def reads_vector(self) -> bool:
        """False: `vector` is not looked at, so a text need not be encoded."""
        ...

    def probabilities(self, text: str, vector: FloatArray) -> FloatArray:
        """(num_labels,), summing to 1; `vector` is (dimension,) of length 1."""
        ...

    def arrays(self) -> Arrays:
        """What `router.safetensors` holds of it, by name, in the types of the file."""
        ...


@dataclass(frozen=True)
class Classifier:
    """What training writes and serving reads."""

    labels: tuple[str, ...]
    model: Model
    temperature: float
    """The logarithm of the model's probabilities is divided by this: above 1 tones them down."""

    def probabilities(self, text: str, vector: FloatArray) -> FloatArray:
        """Calibrated, (num_labels,), summing to 1."""
        return calibrated(self.model.probabilities(text, vector), self.temperature)


def softmax(logits: FloatArray) -> FloatArray:
    """Along the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    found: FloatArray = (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)
    return found


def calibrated(probabilities: FloatArray, temperature: float) -> FloatArray:
    """Temperature scaling of probabilities, (..., num_labels).

    >>> calibrated(np.array([0.8, 0.2], dtype=np.float32), 2.0).round(2).tolist() == np.float32([0.67, 0.33]).tolist()
    True
    """
    logits: FloatArray = (np.log(np.maximum(probabilities, 1e-9)) / temperature).astype(np.float32)
    return softmax(logits)
