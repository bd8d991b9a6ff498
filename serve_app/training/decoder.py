"""The layers of a Llama-like decoder for training: flat batches, fused adapters, gradients for the adapter alone.

Each half of a layer (attention, gated unit) is one autograd function that keeps what its backward pass needs and no
more. Same mathematics as transformers with PEFT: float32 agrees to rounding (tests/unit/training/test_decoder.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from serve_app.training.adapted import AdaptedGroup
from serve_app.training.attention import Attended, Heads, Rotary, attend, attend_backward
from serve_app.training.packing import Packed

_MODELS = ("llama", "qwen2")


@dataclass(frozen=True, slots=True)
class _Norm:
    weight: torch.Tensor
    eps: float

    def into(self, hidden: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        """Write the normed states to `out`; returns one factor a token, (tokens, 1) float32."""
        length = torch.linalg.vector_norm(hidden, dim=-1, keepdim=True, dtype=torch.float32)
        factor = torch.rsqrt(length.square().div_(hidden.shape[-1]).add_(self.eps))
        torch.mul(hidden, factor.to(hidden.dtype), out=out)
        out.mul_(self.weight)
        return factor

    def backward(self, grad: torch.Tensor, hidden: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
        """Gradient of `hidden`."""
        grad = grad * self.weight
        along = (grad * hidden).sum(-1, keepdim=True, dtype=torch.float32)
        along.mul_(factor.pow(3)).div_(-hidden.shape[-1])
        return (grad * factor.to(grad.dtype)).addcmul_(hidden, along.to(grad.dtype))


@dataclass(slots=True)
class _Layer:
    norm_in: _Norm
    qkv: AdaptedGroup
    heads: Heads
    out: AdaptedGroup
    norm_mid: _Norm
    gate_up: AdaptedGroup
    down: AdaptedGroup


@dataclass(frozen=True, slots=True)
class _Batch:
    packed: Packed
    rotary: Rotary


class Decoder:
    """A model's layers over a packed batch. Shares the model's weights and trains its adapter's matrices."""

    def __init__(self, model: Any) -> None:
        self._model = model.get_base_model().base_model
        self._layers = [_layer(layer) for layer in self._model.layers]

    def refresh(self) -> None:
        """To be called after each update of the adapter's matrices."""
        for layer in self._layers:
            for group in (layer.qkv, layer.out, layer.gate_up, layer.down):
                group.refresh()

    def hidden_states(self, packed: Packed) -> torch.Tensor:
        """Last hidden states at `packed.predicting`, (targets, width)."""
        hidden = self._model.embed_tokens(packed.token_ids).detach()
        cos, sin = self._model.rotary_emb(hidden, packed.positions[None])
        half = cos.shape[-1] // 2
        rotary = Rotary(cos[0, :, None, :half].contiguous(), sin[0, :, None, :half].contiguous())
        batch = _Batch(packed, rotary)
        for layer in self._layers:
            hidden = _Attention.apply(hidden, layer, batch, *layer.qkv.parameters(), *layer.out.parameters())
            hidden = _Gated.apply(hidden, layer, *layer.gate_up.parameters(), *layer.down.parameters())
        states: torch.Tensor = self._model.norm(hidden[packed.predicting])
        return states


def can_decode(model: Any) -> bool:
    """Whether these layers are those of `model`: Llama or Qwen 2, full attention, SiLU."""
    config = model.get_base_model().config
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    return config.model_type in _MODELS and config.hidden_act == "silu" and kinds == {"full_attention"}


def _layer(layer: Any) -> _Layer:
    attention, gated = layer.self_attn, layer.mlp
    config = attention.config
    heads = Heads(config.num_attention_heads, config.num_key_value_heads, attention.head_dim, attention.scaling)
    return _Layer(
        norm_in=_norm(layer.input_layernorm),
        qkv=AdaptedGroup([attention.q_proj, attention.k_proj, attention.v_proj]),
        heads=heads,
        out=AdaptedGroup([attention.o_proj]),
        norm_mid=_norm(layer.post_attention_layernorm),
        gate_up=AdaptedGroup([gated.gate_proj, gated.up_proj]),
        down=AdaptedGroup([gated.down_proj]),
    )


def _norm(norm: Any) -> _Norm:
    return _Norm(norm.weight.detach(), norm.variance_epsilon)


class _Attention(torch.autograd.Function):  # type: ignore[misc, unused-ignore]
    """hidden + out(attention(qkv(norm(hidden))))"""

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, layer: _Layer, batch: _Batch, *parameters: torch.Tensor
    ) -> torch.Tensor:
        wide = layer.qkv.input(len(hidden), hidden)
        factor = layer.norm_in.into(hidden, wide[:, : layer.qkv.num_in])
        attended, saved = attend(layer.qkv.forward(wide), batch.rotary, layer.heads, batch.packed)
        wide_out = layer.out.input(len(hidden), hidden)
        wide_out[:, : layer.out.num_in] = attended
        ctx.layer, ctx.batch, ctx.attended = layer, batch, saved
        ctx.save_for_backward(hidden, factor, wide, wide_out)
        return layer.out.forward(wide_out, residual=hidden)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        layer, batch = ctx.layer, ctx.batch
        attended: Attended = ctx.attended
        hidden, factor, wide, wide_out = ctx.saved_tensors
        grad_attended, out_grads = layer.out.backward(grad, wide_out)
        grad_qkv = attend_backward(grad_attended, attended, batch.rotary, layer.heads, batch.packed)
        wanted = ctx.needs_input_grad[0]
        grad_x, qkv_grads = layer.qkv.backward(grad_qkv, wide, input_too=wanted)
        grad_hidden = layer.norm_in.backward(grad_x, hidden, factor).add_(grad) if wanted else None
        return grad_hidden, None, None, *qkv_grads, *out_grads


class _Gated(torch.autograd.Function):  # type: ignore[misc, unused-ignore]
    """hidden + down(silu(gate) * up), of norm(hidden)"""

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, layer: _Layer, *parameters: torch.Tensor) -> torch.Tensor:
        wide = layer.gate_up.input(len(hidden), hidden)
        factor = layer.norm_mid.into(hidden, wide[:, : layer.gate_up.num_in])
        gate_up = layer.gate_up.forward(wide)
        gate, up = gate_up.chunk(2, -1)
        wide_down = layer.down.input(len(hidden), hidden)
        torch.mul(functional.silu(gate), up, out=wide_down[:, : layer.down.num_in])
        ctx.layer = layer
        ctx.save_for_backward(hidden, factor, wide, gate_up, wide_down)
        return layer.down.forward(wide_down, residual=hidden)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        layer = ctx.layer
        hidden, factor, wide, gate_up, wide_down = ctx.saved_tensors
        grad_product, down_grads = layer.down.backward(grad, wide_down)
        gate, up = gate_up.chunk(2, -1)
        grad_gate_up = torch.empty_like(gate_up)
        grad_gate, grad_up = grad_gate_up.chunk(2, -1)
        torch.mul(grad_product, functional.silu(gate), out=grad_up)
        grad_gate.copy_(torch.ops.aten.silu_backward(grad_product * up, gate))
        grad_x, gate_up_grads = layer.gate_up.backward(grad_gate_up, wide)
        grad_hidden = layer.norm_mid.backward(grad_x, hidden, factor).add_(grad)
        return grad_hidden, None, *gate_up_grads, *down_grads
