"""Keys and values: per layer two tensors [slots, kv_heads, context, head_dim], allocated once.

A row keeps its slot for life, and tokens are written where their position says, so nothing is ever moved; a prefix
that an earlier row left behind is copied. Memory that was never written is not taken from the machine (CPU). Slots
start as zeros and are zeroed again after a fault, because a masked key still multiplies its value by 0, and 0 x NaN is
NaN.
"""

from __future__ import annotations

import math
import mmap
from contextlib import suppress

import torch

from serve_app.engine.request import Copy


def zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Zeros; on a CPU pages that nobody has written take no memory, which torch.zeros does not give.

    Nor does numpy.zeros: it asks for pages of 2 MiB, and a row writes a few KiB here and there.
    """
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    memory = mmap.mmap(-1, math.prod(shape) * dtype.itemsize, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        with suppress(OSError):  # a kernel that has no such pages
            memory.madvise(mmap.MADV_NOHUGEPAGE)
    return torch.frombuffer(memory, dtype=dtype).view(shape)


class SlotLayer:
    """The slots of one layer."""

    def __init__(self, shape: tuple[int, int, int, int], dtype: torch.dtype, device: torch.device) -> None:
        self.context = shape[2]
        self.keys = zeros(shape, dtype, device)
        self.values = zeros(shape, dtype, device)


class SlotCache:
    """The slots of all layers."""

    def __init__(
        self,
        num_layers: int,
        num_slots: int,
        kv_heads: int,
        context: int,
        head_dim: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        shape = (num_slots, kv_heads, context, head_dim)
        self.layers = [SlotLayer(shape, dtype, device) for _ in range(num_layers)]

    def copy(self, copy: Copy) -> None:
        """Carry out a copy of a prefix."""
        for tensor in self._tensors():
            tensor[copy.target, :, : copy.num_tokens] = tensor[copy.source, :, : copy.num_tokens]

    def clear(self, slot: int) -> None:
        """Zero a slot that may hold values that are not finite."""
        for tensor in self._tensors():
            tensor[slot].zero_()

    def _tensors(self) -> list[torch.Tensor]:
        return [tensor for layer in self.layers for tensor in (layer.keys, layer.values)]


def token_bytes(num_layers: int, kv_heads: int, head_dim: int, dtype: torch.dtype) -> int:
    """Bytes of the cache that one token takes."""
    return int(2 * num_layers * kv_heads * head_dim * dtype.itemsize)
