"""The operations of a decoder layer that are not plain matrix products, over a flat batch of tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from serve_app.engine.bank import Site
from serve_app.engine.cache import SlotLayer
from serve_app.engine.sampler import LogitStats
from serve_app.engine.step import Step


@dataclass(frozen=True, slots=True)
class Heads:
    """How attention is divided."""

    query: int
    key: int
    """Key and value heads; each serves query / key query heads."""
    dim: int
    scale: float


Rotary = tuple[torch.Tensor, torch.Tensor]
"""cos and sin, each [tokens, head dim]."""


class Kernels(Protocol):
    """All tensors are dense and of the model's dtype and device."""

    name: str
    tiled: bool
    """Whether `lora` reads an adapter's B in tiles (bank.py)."""

    def add_norm(
        self, hidden: torch.Tensor, delta: torch.Tensor | None, weight: torch.Tensor, eps: float
    ) -> torch.Tensor:
        """hidden += delta, in place; returns the root-mean-square norm of it times `weight`. [tokens, dim]."""
        ...

    def silu_mul(self, gate_up: torch.Tensor) -> torch.Tensor:
        """silu(gate) * up of [tokens, 2 * inner]: [tokens, inner]."""
        ...

    def lora(self, x: torch.Tensor, out: torch.Tensor, site: Site, step: Step) -> None:
        """Add to `out` [tokens, columns], in place, what each token's adapter makes of x [tokens, in] at this site."""
        ...

    def attend(
        self, qkv: torch.Tensor, rotary: Rotary | None, layer: SlotLayer, step: Step, heads: Heads
    ) -> torch.Tensor:
        """Rotate (if asked), write keys and values to the tokens' slots, attend to all up to each token's position.

        qkv [tokens, (query + 2 key) * dim], changed in place; returns [tokens, query * dim].
        """
        ...

    def logit_stats(self, logits: torch.Tensor) -> LogitStats:
        """See sampler.logit_stats."""
        ...
