"""Adapters beside the base's linear layers: y = base(x) + (x A^T, foreign ranks zeroed) B, never merged.

All adapters that target a layer lie side by side along the rank in one "slab": A [total_rank, in], B [total_rank, out]
with the scaling folded in. So a batch of rows with different adapters costs two matrix products per layer, whatever
the number of adapters and ranks; a batch with one adapter (every prompt chunk) uses that adapter's part alone. Rows
of a mixed batch pay for all ranks between the first and the last adapter present, which is cheap for some ten adapters
(a decode step is bound by reading weights, and these are mostly needed by one row or another) and dear for a hundred.

Finite weights are required (checked at load): a foreign rank is zeroed in between, and 0 x NaN is NaN.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

Layout = tuple[tuple[int, int], ...]
"""Of one slab: (adapter index, rank) of each adapter in it, in order."""


@dataclass(frozen=True, slots=True)
class LoraPair:
    """One adapter's two matrices for one linear layer."""

    down: torch.Tensor
    """A: [rank, in_features]."""
    up: torch.Tensor
    """B: [out_features, rank], scaling not folded in."""
    scaling: float
    """alpha / rank, or alpha / sqrt(rank) for rsLoRA."""


@dataclass(frozen=True, slots=True)
class Span:
    """The part [start, end) of a slab that a batch needs, and which ranks of it are foreign to which row."""

    start: int
    end: int
    foreign: torch.Tensor | None
    """[num_rows, 1, end - start] bool; None when every row uses all of it."""


class Selection:
    """Which adapter each row of the next forward pass uses. One per runner, shared by its LoraLinear modules."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._adapters: tuple[int | None, ...] = ()
        self._spans: dict[Layout, Span | None] = {}

    def choose(self, adapters: Sequence[int | None]) -> None:
        """Set the adapter index of each row, None for the bare base."""
        if tuple(adapters) != self._adapters:
            self._adapters = tuple(adapters)
            self._spans = {}

    def span(self, layout: Layout) -> Span | None:
        """What these rows need of a slab, None if nothing; worked out once per choice and layout."""
        if layout not in self._spans:
            self._spans[layout] = self._work_out(layout)
        return self._spans[layout]

    def _work_out(self, layout: Layout) -> Span | None:
        owners = [adapter for adapter, rank in layout for _ in range(rank)]
        used = [place for place, owner in enumerate(owners) if owner in self._adapters]
        if not used:
            return None
        start, end = used[0], used[-1] + 1
        foreign = torch.tensor([[owner != adapter for owner in owners[start:end]] for adapter in self._adapters])
        return Span(start, end, foreign[:, None].to(self._device) if bool(foreign.any()) else None)


class LoraLinear(nn.Module):  # type: ignore[misc]  # torch is untyped to mypy here
    """A linear layer of the base with the slab of the adapters that target it."""

    def __init__(self, base: nn.Linear, pairs: Mapping[int, LoraPair], selection: Selection) -> None:
        super().__init__()
        self.base = base
        self._selection = selection
        self._layout: Layout = tuple((adapter, pair.down.shape[0]) for adapter, pair in pairs.items())
        like = base.weight
        down = torch.cat([pair.down.float() for pair in pairs.values()])
        up = torch.cat([pair.up.float().t() * pair.scaling for pair in pairs.values()])
        self.register_buffer("_down", down.to(like.device, like.dtype).contiguous())
        self.register_buffer("_up", up.to(like.device, like.dtype).contiguous())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [num_rows, num_new, in_features] -> [num_rows, num_new, out_features]."""
        out: torch.Tensor = self.base(x)
        span = self._selection.span(self._layout)
        if span is None:
            return out
        down, up = self.get_buffer("_down"), self.get_buffer("_up")
        hidden = functional.linear(x, down[span.start : span.end])
        if span.foreign is not None:
            hidden.masked_fill_(span.foreign, 0.0)
        out.view(-1, out.shape[-1]).addmm_(hidden.view(-1, hidden.shape[-1]), up[span.start : span.end])
        return out


def attach(model: nn.Module, adapters: Sequence[Mapping[str, LoraPair]], selection: Selection) -> None:
    """Replace each linear layer that an adapter names by a LoraLinear. `adapters[i]` maps module path -> pair."""
    for path in sorted({path for adapter in adapters for path in adapter}):
        base = model.get_submodule(path)
        assert isinstance(base, nn.Linear), path  # checked, with the adapter's name, when its file was read
        pairs = {index: adapter[path] for index, adapter in enumerate(adapters) if path in adapter}
        parent, _, name = path.rpartition(".")
        setattr(model.get_submodule(parent), name, LoraLinear(base, pairs, selection))
