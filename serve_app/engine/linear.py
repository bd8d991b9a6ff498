"""The matrix products of the base, in the kinds a machine may run them.

    plain    torch's own product; any device and dtype
    packed   weights laid out once for oneDNN, so that no product lays them out again; CPU, bfloat16 or float32
    int8     weights in 8 bits with a scale per output; inputs in 8 bits with a scale per token; CPU with VNNI
    int4     weights in 4 bits with a scale and an offset per 32 inputs; inputs as they are; CPU

`plain` and `packed` differ by rounding alone; the other two lose quality (bench/quantisation.py says how much). int4
reads the least memory: the fastest for one token at a time, the slowest for many. int8 gains with many, and on heads.

But for rounding, a token's result does not depend on the tokens beside it: inputs are never scaled over a whole batch.
Values that are not finite stay so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import nn
from torch.nn import functional

from serve_app.core import ConfigError
from serve_app.engine.pages import use_large_pages

KINDS = ("plain", "packed", "int8", "int4")
_GROUP = 32
"""Inputs that share a scale in int4."""
_INT4_OUTPUTS = 16
"""The int4 product takes outputs in multiples of this."""
_BLOCK_ROWS = 4096
"""Outputs quantised at a time: bounds the float32 copy of a large head."""
_TINY = 1e-30
"""Least scale: keeps zeros from being divided by zero, and its reciprocal is finite."""
_LEAST_ROWS = 4
"""Fewer tokens are padded to as many. oneDNN sums a single one in another order than several, so an answer would
depend on who is beside it; and four are no slower than one."""
_PACKED_ROWS = 8
"""Tokens the layout is made for; those for 1 and 32 take the same time."""


def make_linear(kind: str, weights: Sequence[nn.Linear]) -> nn.Module:
    """One module for layers that take the same input: [..., in] -> [..., sum of outs], in the order given.

    It keeps none of `weights`, except that `plain` of a single layer shares its tensors. Raises ConfigError where the
    kind cannot be used with the weights' device, dtype and shape on this machine.
    """
    assert weights and len({layer.in_features for layer in weights}) == 1, "layers take the same input"
    first = weights[0].weight
    check_kind(kind, first.dtype, first.device)
    num_in, num_out = weights[0].in_features, sum(layer.out_features for layer in weights)
    if kind == "int4" and (num_in % _GROUP or num_out % _INT4_OUTPUTS):
        raise _refusal(kind, f"a layer [{num_out}, {num_in}] needs multiples of {_INT4_OUTPUTS} and {_GROUP}")
    with torch.no_grad():
        return _MAKERS[kind](weights)


def settle(products: Iterable[nn.Module]) -> None:
    """Put the packed ones in large pages. Called once all are made and the model's own weights are let go of."""
    for product in products:
        if isinstance(product, PackedLinear):
            use_large_pages(*product.memory())


def check_kind(kind: str, dtype: torch.dtype, device: torch.device) -> None:
    """Raises ConfigError, which says what to set, where that kind cannot be used."""
    if reason := obstacle(kind, dtype, device):
        raise _refusal(kind, reason)


def obstacle(kind: str, dtype: torch.dtype, device: torch.device) -> str:
    """Why this machine cannot run that kind in that dtype; empty if it can."""
    if kind not in KINDS:
        return f"the kinds are {', '.join(KINDS)}"
    if kind == "plain":
        return ""
    if device.type != "cpu":
        return f"it runs on the CPU only, not on {device}"
    if kind == "int4":
        # In other dtypes the product exists, and takes ten to a hundred times as long
        return "" if dtype == torch.bfloat16 else f"it takes bfloat16, not {dtype}"
    if not torch.backends.mkldnn.is_available():
        return "this torch is built without oneDNN"
    if kind == "int8":
        # Without VNNI, sums of two products are cut off at 16 bits
        return "" if torch.cpu._is_vnni_supported() else "this processor has no AVX512 VNNI instructions"
    if dtype == torch.bfloat16:
        return "" if torch.ops.mkldnn._is_mkldnn_bf16_supported() else "oneDNN has no bfloat16 on this processor"
    return "" if dtype == torch.float32 else f"it takes bfloat16 or float32, not {dtype}"


def _refusal(kind: str, reason: str) -> ConfigError:
    return ConfigError(f"linear {kind!r} cannot be used here: {reason}; set linear to `auto` or `plain`")


class PlainLinear(nn.Module):  # type: ignore[misc]  # torch is untyped to mypy here
    """x W^T + b, with the weights as they were loaded."""

    def __init__(self, weights: Sequence[nn.Linear]) -> None:
        super().__init__()
        only = weights[0].weight.detach() if len(weights) == 1 else torch.cat([layer.weight for layer in weights])
        self.register_buffer("_weight", only)
        self.register_buffer("_bias", _fused_bias(weights))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [..., in] -> [..., out]."""
        return functional.linear(x, self._weight, self._bias)


class PackedLinear(nn.Module):  # type: ignore[misc]
    """The same product on weights in oneDNN's own layout, which no other operation can read."""

    def __init__(self, weights: Sequence[nn.Linear]) -> None:
        super().__init__()
        dense = torch.cat([layer.weight for layer in weights])
        self._packed = torch.ops.mkldnn._reorder_linear_weight(dense, _PACKED_ROWS)  # no buffer: it cannot be moved
        self._bias = _fused_bias(weights)

    def memory(self) -> tuple[int, int]:
        """Address and bytes of the packed weights."""
        return torch.ops.mkldnn.data_ptr(self._packed), torch.ops.mkldnn._nbytes(self._packed)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [..., in] -> [..., out]."""
        out: torch.Tensor
        num_rows = x.numel() // x.shape[-1]
        if num_rows == 0 or num_rows >= _LEAST_ROWS:
            out = torch.ops.mkldnn._linear_pointwise(x, self._packed, self._bias, "none", [], "")
            return out
        padded = functional.pad(x.reshape(num_rows, -1), (0, 0, 0, _LEAST_ROWS - num_rows))
        out = torch.ops.mkldnn._linear_pointwise(padded, self._packed, self._bias, "none", [], "")
        return out[:num_rows].view(*x.shape[:-1], -1)


class Int8Linear(nn.Module):  # type: ignore[misc]
    """Weights in int8 with a scale per output; each token's input is scaled by its own largest value to uint8.

    The product takes inputs in [0, 255] with 128 for zero; scales go on the float32 result.
    """

    def __init__(self, weights: Sequence[nn.Linear]) -> None:
        super().__init__()
        values, scales = zip(*(_to_int8(block) for block in _blocks(weights)), strict=True)
        self._packed = torch.ops.onednn.qlinear_prepack(torch.cat(values), None)
        self._scales = torch.cat(scales)
        self._offsets = torch.zeros(len(self._scales), dtype=torch.int64)
        bias = _fused_bias(weights)
        self._bias = None if bias is None else bias.float()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [..., in] -> [..., out]."""
        rows = x.reshape(-1, x.shape[-1])
        steps = rows.abs().amax(-1, keepdim=True).float().mul_(1 / 127).clamp_min_(_TINY)
        # 128.5, not 128: the cast to uint8 cuts off where it should round
        inputs = torch.mul(rows, steps.reciprocal()).add_(128.5).to(torch.uint8)
        products = torch.ops.onednn.qlinear_pointwise(
            inputs, 1.0, 128, self._packed, self._scales, self._offsets, None, 1.0, 0, torch.float32, "none", [], ""
        )
        products.mul_(steps)
        if self._bias is not None:
            products += self._bias
        return products.to(x.dtype).view(*x.shape[:-1], products.shape[-1])  # by number: there may be no tokens


class Int4Linear(nn.Module):  # type: ignore[misc]
    """Weights in 4 bits, each group of 32 inputs of an output with its own scale and offset."""

    def __init__(self, weights: Sequence[nn.Linear]) -> None:
        super().__init__()
        values, scales, centres = zip(*(_to_int4(block) for block in _blocks(weights)), strict=True)
        pairs = torch.stack([torch.cat(scales), torch.cat(centres)], dim=-1)
        self._scales_centres = pairs.transpose(0, 1).contiguous().to(weights[0].weight.dtype)
        self._packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(torch.cat(values), 1)
        self._bias = _fused_bias(weights)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [..., in] -> [..., out]."""
        rows = x.reshape(-1, x.shape[-1])
        out: torch.Tensor = torch.ops.aten._weight_int4pack_mm_for_cpu(rows, self._packed, _GROUP, self._scales_centres)
        if self._bias is not None:
            out += self._bias
        return out.view(*x.shape[:-1], out.shape[-1])


_MAKERS: dict[str, Callable[[Sequence[nn.Linear]], nn.Module]] = {
    "plain": PlainLinear,
    "packed": PackedLinear,
    "int8": Int8Linear,
    "int4": Int4Linear,
}


def _blocks(weights: Sequence[nn.Linear]) -> Iterator[torch.Tensor]:
    """Float32 pieces [at most _BLOCK_ROWS, in] of all weights, in order."""
    for layer in weights:
        for block in layer.weight.split(_BLOCK_ROWS):
            yield block.float()


def _to_int8(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """int8 [out, in] and float32 scales [out]: weight = int8 * scale."""
    scale = (weight.abs().amax(1) / 127).clamp_min(_TINY)
    return (weight / scale[:, None]).round().to(torch.int8), scale


def _to_int4(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """int32 in 0 to 15 [out, in], scales and centres [out, groups]: weight = (int32 - 8) * scale + centre."""
    groups = weight.view(len(weight), -1, _GROUP)
    low, high = groups.amin(-1), groups.amax(-1)
    scale = ((high - low) / 15).clamp_min(_TINY)
    values = ((groups - low[..., None]) / scale[..., None]).round().to(torch.int32)
    return values.view(weight.shape), scale, low + 8 * scale


def _fused_bias(weights: Sequence[nn.Linear]) -> torch.Tensor | None:
    """[sum of outs]; zero for layers without one; None when none has one."""
    if all(layer.bias is None for layer in weights):
        return None
    pieces = [layer.weight.new_zeros(layer.out_features) if layer.bias is None else layer.bias for layer in weights]
    return torch.cat([piece.detach() for piece in pieces])
