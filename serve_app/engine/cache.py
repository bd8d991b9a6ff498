"""Keys and values: one slot per row, per layer a tensor [rows, kv_heads, context, head_dim], allocated once.

The forward pass works on views, never on a copy of the past: decoding rows are rows 0 to n-1, and a prompt chunk is one
row. A `Window` says which; the runner sets it before each forward. Slots start as zeros and are zeroed again after a
fault, because a masked key still multiplies its value by 0, and 0 x NaN is NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from transformers.cache_utils import Cache, CacheLayerMixin


@dataclass(frozen=True, slots=True)
class Window:
    """Where one forward pass reads and writes."""

    first_row: int
    num_rows: int
    positions: torch.Tensor
    """[num_rows, num_new] int64: the place of each new token in its row's slot."""
    view_length: int
    """Tokens of each slot that are read: the longest row's, new tokens included."""


class SlotLayer(CacheLayerMixin):  # type: ignore[misc]  # transformers is untyped to mypy here
    """The slots of one layer. Allocated at the first forward, when the head sizes are known."""

    def __init__(self, num_rows: int, context: int) -> None:
        super().__init__()
        self._num_rows, self._context = num_rows, context
        self.window: Window | None = None

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Allocate for states shaped [rows, kv_heads, tokens, head_dim]; zero pages cost no memory until written."""
        for name, states in (("keys", key_states), ("values", value_states)):
            shape = (self._num_rows, states.shape[1], self._context, states.shape[3])
            setattr(self, name, torch.zeros(shape, dtype=states.dtype, device=states.device))
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the new states, [num_rows, kv_heads, num_new, head_dim], and return views of all that the rows hold."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        window = self.window
        assert window is not None and self.keys is not None and self.values is not None
        keys = self.keys[window.first_row : window.first_row + window.num_rows]
        values = self.values[window.first_row : window.first_row + window.num_rows]
        if key_states.shape[2] == 1:
            rows = torch.arange(window.num_rows, device=keys.device)
            keys[rows, :, window.positions[:, 0]] = key_states[:, :, 0]
            values[rows, :, window.positions[:, 0]] = value_states[:, :, 0]
        else:  # a prompt chunk: one row, consecutive places up to the end of the view
            start = window.view_length - key_states.shape[2]
            keys[:, :, start : window.view_length] = key_states
            values[:, :, start : window.view_length] = value_states
        return keys[:, :, : window.view_length], values[:, :, : window.view_length]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """(length read, offset), for models that build a mask of their own beside the one given."""
        return (self.window.view_length if self.window else query_length), 0

    def get_seq_length(self) -> int:
        """Not meaningful for rows of different length; positions are always given explicitly."""
        return 0

    def get_max_length(self) -> int:
        """Tokens a slot holds."""
        return self._context


class SlotCache(Cache):  # type: ignore[misc]
    """The slots of all layers, as the `cache` argument of any transformers decoder with full attention."""

    def __init__(self, num_layers: int, num_rows: int, context: int) -> None:
        self.slots = [SlotLayer(num_rows, context) for _ in range(num_layers)]
        super().__init__(layers=list(self.slots))

    def look_at(self, window: Window) -> None:
        """Set where the next forward pass reads and writes."""
        for layer in self.slots:
            layer.window = window

    def move(self, source: int, target: int, num_tokens: int) -> None:
        """Copy the first `num_tokens` of one slot to another."""
        for tensor in self._tensors():
            tensor[target, :, :num_tokens] = tensor[source, :, :num_tokens]

    def clear(self, row: int) -> None:
        """Zero a slot that may hold values that are not finite."""
        for tensor in self._tensors():
            tensor[row].zero_()

    def _tensors(self) -> list[torch.Tensor]:
        return [tensor for layer in self.slots for tensor in (layer.keys, layer.values) if tensor is not None]
