"""The resident adapters' matrices: preallocated, fused per place of the model where they act.

A `Site` is one or several linear layers of the base that take the same input and are computed as one product (q, k and
v; gate and up). An adapter in slot s has, for member m of a site, its A as rows of `down[s]` and its B, scaling folded
in, as rows of `up[s]`. Ranks differ between adapters and members; a member that an adapter does not target has rank 0.

A slot is written by the loader's thread while no row uses it (residency.py sees to that), so nothing is locked here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from serve_app.engine.cache import zeros

TILE = 64
"""Columns of B that lie together where a kernel wants tiles: it then reads memory in order."""


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
class SiteShape:
    """What the model says of a site: module paths, the input's width and each member's output width."""

    paths: tuple[str, ...]
    in_features: int
    widths: tuple[int, ...]


class Site:
    """Where adapters act: linear layers `paths` of the base, with the same input, as one."""

    def __init__(
        self,
        shape: SiteShape,
        num_slots: int,
        max_rank: int,
        dtype: torch.dtype,
        device: torch.device,
        tiled: bool,
    ) -> None:
        self.paths, self.widths, self.max_rank = shape.paths, shape.widths, max_rank
        self._tiled = tiled
        members = len(self.paths)
        self.columns = tuple(sum(self.widths[:member]) for member in range(members + 1))
        """Member m makes columns [columns[m], columns[m + 1]) of the output."""
        self.down = zeros((num_slots, members * max_rank, shape.in_features), dtype, device)
        """Member m of a slot: rows from m * max_rank on."""
        self.up = zeros((num_slots, max_rank * self.columns[-1]), dtype, device)
        """Member m of a slot: from max_rank * columns[m] on, [max_rank, its width]; if tiled, its columns in tiles of
        TILE, each [rank, TILE], the last one narrower where the width asks for it."""
        self.ranks = [[0] * members for _ in range(num_slots)]
        self.users: set[int] = set()
        """Slots whose adapter acts here."""
        self._ranks = torch.zeros((num_slots, members), dtype=torch.int32)
        self._columns = torch.tensor(self.columns, dtype=torch.int64)
        self.arguments = (
            *(self.down.data_ptr(), self.up.data_ptr(), self._ranks.data_ptr(), self._columns.data_ptr()),
            *(members, max_rank, shape.in_features),
        )
        """What a native kernel needs to know of the site."""

    def write(self, slot: int, pairs: Mapping[str, LoraPair]) -> None:
        """Put an adapter's matrices for this site in a slot; what the slot held before is gone."""
        for member, path in enumerate(self.paths):
            pair = pairs.get(path)
            rank, width = pair.down.shape[0] if pair is not None else 0, self.widths[member]
            before = self.ranks[slot][member]
            down = self.down[slot, member * self.max_rank : (member + 1) * self.max_rank]
            start = self.max_rank * self.columns[member]
            up = self.up[slot, start : start + self.max_rank * width]
            # A batch reads as many ranks as its widest row needs, so those that nobody wrote must be zero.
            down[rank:before], up[rank * width : before * width] = 0, 0
            if pair is not None:
                scaled = pair.up.float().t() * pair.scaling
                down[:rank] = pair.down.to(down.device, non_blocking=True)
                up[: rank * width] = (_tiles(scaled) if self._tiled else scaled.flatten()).to(up.device, up.dtype)
            self.ranks[slot][member] = rank
            self._ranks[slot, member] = rank
        if any(self.ranks[slot]):
            self.users.add(slot)
        else:
            self.users.discard(slot)


def _tiles(up: torch.Tensor) -> torch.Tensor:
    """[rank, width] as tiles of TILE columns one after another, flat."""
    return torch.cat([tile.flatten() for tile in up.split(TILE, dim=1)])


class AdapterBank:
    """All sites of a model, and which adapter is written in which slot."""

    def __init__(
        self,
        shapes: Sequence[SiteShape],
        num_slots: int,
        max_rank: int,
        dtype: torch.dtype,
        device: torch.device,
        tiled: bool = False,
    ) -> None:
        """`tiled`: B as the kernels that will read it want it (Kernels.tiled)."""
        self.num_slots, self.max_rank = num_slots, max_rank
        self._sites = [Site(shape, num_slots, max_rank, dtype, device, tiled) for shape in shapes]
        self.sites = {path: site for site in self._sites for path in site.paths}
        """Module path -> its site."""
        self.scratch_ranks = max((len(shape.paths) for shape in shapes), default=0) * max_rank

    def write(self, slot: int, pairs: Mapping[str, LoraPair]) -> None:
        """Put an adapter in a slot that no row uses. `pairs`: module path -> matrices, checked against the model."""
        with torch.inference_mode():
            for site in self._sites:
                site.write(slot, pairs)

    def num_bytes(self) -> int:
        """Bytes set aside for all slots, written or not."""
        return sum(tensor.nbytes for site in self._sites for tensor in (site.down, site.up))
