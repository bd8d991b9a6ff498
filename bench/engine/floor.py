"""The machine's limit: the matrix products of one decode step, on pre-packed weights, and nothing else."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from serve_app.engine.linear import make_linear, settle

_GROUPS = (("q_proj", "k_proj", "v_proj"), ("o_proj",), ("gate_proj", "up_proj"), ("down_proj",))


class Floor:
    """q/k/v and gate/up fused, as the engine does it; the head included."""

    def __init__(self, model: Any) -> None:
        self._products: list[nn.Module] = []
        self._inputs: list[int] = []
        for layer in model.model.layers:
            for group in _GROUPS:
                modules = [getattr(layer.mlp if hasattr(layer.mlp, name) else layer.self_attn, name) for name in group]
                self._add(modules)
        self._add([model.lm_head])
        settle(self._products)

    def _add(self, modules: Sequence[nn.Linear]) -> None:
        self._products.append(make_linear("packed", modules))
        self._inputs.append(modules[0].in_features)

    def rate(self, num_rows: int, dtype: torch.dtype, steps: int) -> float:
        """Decode tokens per second if a step were its matrix products."""
        inputs = {width: torch.randn(num_rows, width).to(dtype) for width in set(self._inputs)}
        with torch.inference_mode():
            self._step(inputs)
            start_s = time.perf_counter()
            for _ in range(steps):
                self._step(inputs)
        return num_rows * steps / (time.perf_counter() - start_s)

    def _step(self, inputs: dict[int, torch.Tensor]) -> None:
        for product, width in zip(self._products, self._inputs, strict=True):
            product(inputs[width])
