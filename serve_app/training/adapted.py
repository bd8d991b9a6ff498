"""Linear layers with LoRA, as the training step computes them: layers of one input are one matrix product.

The base's weights W and the scaled low-rank matrices B stand side by side, [W | scale * B], and so do an input x and
its image u = x A^T. One product of the two gives x W^T + scale * u B^T, and backwards one product gives the gradients
of x and u. No gradient of W is ever made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn


class AdaptedGroup:
    """Linear layers that take the same input, adapted by PEFT or not.

    The layers' weights become views of this group's matrix: nothing is stored twice, and the layers go on working.
    """

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        self.adapters = [_Adapter(layer) for layer in layers if hasattr(layer, "lora_A")]
        bases = [getattr(layer, "base_layer", layer) for layer in layers]
        first = bases[0].weight
        self.num_in = first.shape[1]
        self.num_out = sum(base.weight.shape[0] for base in bases)
        self.rank = sum(adapter.rank for adapter in self.adapters)
        """Of all members together."""
        self.matrix = first.new_zeros(self.num_out, self.num_in + self.rank, requires_grad=False)
        self.bias = _joined_bias(bases)
        row = column = 0
        with torch.no_grad():
            for layer, base in zip(layers, bases, strict=True):
                rows = slice(row, row + base.weight.shape[0])
                self.matrix[rows, : self.num_in] = base.weight
                base.weight.data = self.matrix[rows, : self.num_in]
                for adapter in self.adapters:
                    if adapter.layer is layer:
                        adapter.rows, adapter.columns = rows, slice(column, column + adapter.rank)
                        column += adapter.rank
                row = rows.stop
        self.refresh()

    def parameters(self) -> list[torch.Tensor]:
        """Every A, then every B."""
        return [adapter.a for adapter in self.adapters] + [adapter.b for adapter in self.adapters]

    def refresh(self) -> None:
        """Take over the adapters' matrices as they are now; to be called after each update of them."""
        with torch.no_grad():
            for adapter in self.adapters:
                columns = slice(self.num_in + adapter.columns.start, self.num_in + adapter.columns.stop)
                torch.mul(adapter.b, adapter.scale, out=self.matrix[adapter.rows, columns])
            if self.adapters:
                self.down = torch.cat([adapter.a.detach() for adapter in self.adapters])

    def input(self, num_tokens: int, like: torch.Tensor) -> torch.Tensor:
        """Room for [x | u]; the caller writes x into the first `num_in` columns."""
        return like.new_empty(num_tokens, self.num_in + self.rank)

    def forward(self, wide: torch.Tensor, residual: torch.Tensor | None = None) -> torch.Tensor:
        """The layers' outputs side by side, (tokens, num_out), added to `residual` if given; fills in u."""
        if self.adapters:
            wide[:, self.num_in :] = wide[:, : self.num_in] @ self.down.t()
        out = wide @ self.matrix.t() if residual is None else torch.addmm(residual, wide, self.matrix.t())
        return out if self.bias is None else out.add_(self.bias)

    def backward(
        self, grad: torch.Tensor, wide: torch.Tensor, input_too: bool = True
    ) -> tuple[torch.Tensor | None, list[torch.Tensor]]:
        """Gradients of x, (tokens, num_in), and of `parameters()`, from that of the outputs."""
        grad_x: torch.Tensor | None = None
        if input_too:
            grad_wide = grad @ self.matrix
            grad_x, grad_u = grad_wide[:, : self.num_in], grad_wide[:, self.num_in :].contiguous()
            if self.adapters:
                grad_x = grad_x.addmm_(grad_u, self.down)
        else:
            grad_u = grad @ self.matrix[:, self.num_in :]
        if not self.adapters:
            return grad_x, []
        down = grad_u.t() @ wide[:, : self.num_in]
        u = wide[:, self.num_in :]
        ups = [(grad[:, adapter.rows].t() @ u[:, adapter.columns]).mul_(adapter.scale) for adapter in self.adapters]
        return grad_x, [*down.split([adapter.rank for adapter in self.adapters]), *ups]


class _Adapter:
    """One layer's low-rank matrices and where they stand in the group's."""

    def __init__(self, layer: Any) -> None:
        (name,) = layer.active_adapters
        self.layer = layer
        self.a: torch.Tensor = layer.lora_A[name].weight
        self.b: torch.Tensor = layer.lora_B[name].weight
        self.scale: float = layer.scaling[name]
        self.rank = self.a.shape[0]
        self.rows = self.columns = slice(0, 0)


def _joined_bias(bases: Sequence[Any]) -> torch.Tensor | None:
    if all(base.bias is None for base in bases):
        return None
    parts = [base.weight.new_zeros(base.weight.shape[0]) if base.bias is None else base.bias for base in bases]
    return torch.cat([part.detach() for part in parts])
