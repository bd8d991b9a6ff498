"""Llama and its kin with few, large operations: per layer four matrix products and six kernel calls.

The skeleton is transformers' own (embedding, rotary embedding, weights); the layers are walked here, because at a few
milliseconds a step the hundreds of small operations of a module tree cost more than the products. q, k and v are one
product, gate and up another; the residual is added in the norm that follows it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from serve_app.engine.bank import Site, SiteShape
from serve_app.engine.cache import SlotLayer
from serve_app.engine.decoders.protocol import ModelShape, Parts
from serve_app.engine.kernels.protocol import Heads
from serve_app.engine.linear import make_linear, settle
from serve_app.engine.step import Step

_FAMILIES = {"llama", "qwen2", "mistral"}
_GROUPS = (
    ("self_attn", ("q_proj", "k_proj", "v_proj")),
    ("self_attn", ("o_proj",)),
    ("mlp", ("gate_proj", "up_proj")),
    ("mlp", ("down_proj",)),
)
"""Linear layers of a decoder layer that take the same input, in the order they run."""


def fits(model: Any) -> bool:
    """Whether the model is one that FusedDecoder computes as transformers does."""
    config = model.config
    return config.model_type in _FAMILIES and getattr(config, "hidden_act", None) == "silu"


def site_shapes(model: Any) -> list[SiteShape]:
    """Where adapters may act."""
    return [_shape(model, paths) for paths in _all_paths(model)]


@dataclass(slots=True)
class _Product:
    """A linear product of the base and the adapters' share of it."""

    base: nn.Module
    site: Site


@dataclass(slots=True)
class _Layer:
    input_norm: torch.Tensor
    qkv: _Product
    slots: SlotLayer
    output: _Product
    inner_norm: torch.Tensor
    gate_up: _Product
    down: _Product

    def products(self) -> tuple[_Product, ...]:
        return self.qkv, self.output, self.gate_up, self.down


class FusedDecoder:
    """A Decoder. Takes the model's weights over: the model object is not to be used, nor kept, after it."""

    name = "fused"

    def __init__(self, model: Any, parts: Parts) -> None:
        shape = ModelShape.of(model.config)
        self._kernels = parts.kernels
        self._heads = Heads(shape.query_heads, shape.key_heads, shape.head_dim, shape.head_dim**-0.5)
        self._eps: float = model.config.rms_norm_eps
        self._embed, self._rotary = model.model.embed_tokens, model.model.rotary_emb
        # A head in 4 bits costs more quality than all layers together (bench/quantisation.py).
        self._head = make_linear("packed" if parts.linear == "int4" else parts.linear, [model.lm_head])
        self._norm: torch.Tensor = model.model.norm.weight
        self._layers = [
            self._layer(layer, slots, parts)
            for layer, slots in zip(model.model.layers, parts.cache.layers, strict=True)
        ]
        settle([self._head, *(product.base for layer in self._layers for product in layer.products())])

    def forward(self, step: Step) -> torch.Tensor:
        """See Decoder."""
        kernels, eps = self._kernels, self._eps
        hidden = self._embed(step.ids)
        cos, sin = self._rotary(hidden[None], step.positions[None])
        rotary = (cos[0], sin[0])
        delta: torch.Tensor | None = None
        for layer in self._layers:
            x = kernels.add_norm(hidden, delta, layer.input_norm, eps)
            mixed = kernels.attend(self._product(layer.qkv, x, step), rotary, layer.slots, step, self._heads)
            delta = self._product(layer.output, mixed, step)
            x = kernels.add_norm(hidden, delta, layer.inner_norm, eps)
            delta = self._product(layer.down, kernels.silu_mul(self._product(layer.gate_up, x, step)), step)
        if not step.all_sampled:
            hidden = hidden[step.sampled]
            delta = delta[step.sampled] if delta is not None else None
        logits: torch.Tensor = self._head(kernels.add_norm(hidden, delta, self._norm, eps))
        return logits

    def _product(self, product: _Product, x: torch.Tensor, step: Step) -> torch.Tensor:
        out: torch.Tensor = product.base(x)
        self._kernels.lora(x, out, product.site, step)
        return out

    def _layer(self, layer: Any, slots: SlotLayer, parts: Parts) -> _Layer:
        products = []
        for parent, names in _GROUPS:
            modules = [layer.get_submodule(f"{parent}.{name}") for name in names]
            path = f"model.layers.{layer.self_attn.layer_idx}.{parent}.{names[0]}"
            products.append(_Product(make_linear(parts.linear, modules), parts.bank.sites[path]))
            for name in names:  # packed now: keeping both would double the memory
                delattr(layer.get_submodule(parent), name)
        qkv, output, gate_up, down = products
        norms = layer.input_layernorm.weight, layer.post_attention_layernorm.weight
        return _Layer(norms[0], qkv, slots, output, norms[1], gate_up, down)


def _all_paths(model: Any) -> Iterator[tuple[str, ...]]:
    for index in range(model.config.num_hidden_layers):
        for parent, names in _GROUPS:
            yield tuple(f"model.layers.{index}.{parent}.{name}" for name in names)


def _shape(model: Any, paths: tuple[str, ...]) -> SiteShape:
    linears = [model.get_submodule(path) for path in paths]
    return SiteShape(paths, linears[0].in_features, tuple(linear.out_features for linear in linears))
