"""What the runner needs of a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch

from serve_app.core import EngineError
from serve_app.engine.bank import AdapterBank
from serve_app.engine.cache import SlotCache
from serve_app.engine.kernels import Kernels
from serve_app.engine.step import Step


class Decoder(Protocol):
    """A model with its adapters and its cache. Used by one thread."""

    name: str

    def forward(self, step: Step) -> torch.Tensor:
        """Logits [len(step.sampled), vocab]; keys and values of all tokens of the step are in the cache after it."""
        ...


@dataclass(frozen=True, slots=True)
class Parts:
    """What a decoder works with, beside the model."""

    cache: SlotCache
    bank: AdapterBank
    kernels: Kernels
    linear: str
    """Kind of the base's linear products (linear.py)."""


@dataclass(frozen=True, slots=True)
class ModelShape:
    """Sizes read off a configuration."""

    num_layers: int
    query_heads: int
    key_heads: int
    head_dim: int
    hidden: int
    inner: int

    @classmethod
    def of(cls, config: Any) -> ModelShape:
        """Raises EngineError for a configuration that does not say them."""
        try:
            heads = config.num_attention_heads
            return cls(
                num_layers=config.num_hidden_layers,
                query_heads=heads,
                key_heads=getattr(config, "num_key_value_heads", None) or heads,
                head_dim=getattr(config, "head_dim", None) or config.hidden_size // heads,
                hidden=config.hidden_size,
                inner=getattr(config, "intermediate_size", None) or 4 * config.hidden_size,
            )
        except AttributeError as error:
            raise EngineError(f"the model's configuration lacks a size that serving needs: {error}") from error

    @property
    def widths(self) -> set[int]:
        """Lengths of the vectors that kernels handle."""
        return {self.hidden, self.inner, self.head_dim, self.head_dim // 2}
