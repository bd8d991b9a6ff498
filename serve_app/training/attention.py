"""Causal attention over the rows of a packed batch, forwards and backwards, from flat queries, keys and values.

Two ways to the same numbers: torch's fused attention, and products and softmax written out, which keeps the weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch.nn import functional

from serve_app.training.packing import Packed

_WRITTEN_OUT_TOKENS = 320
"""Rows up to this long, on a CPU, are written out: 1.3 times as fast as fused at 250 tokens, 3 times at 64, because the
fused backward pass is slow for short rows. For longer ones the weights would need much memory (docs/training.md)."""


@dataclass(frozen=True, slots=True)
class Heads:
    """Of one layer."""

    query: int
    key: int
    dim: int
    scale: float


@dataclass(frozen=True, slots=True)
class Rotary:
    """Cosines and sines of the nodes' positions, (nodes, 1, dim / 2) each."""

    cos: torch.Tensor
    sin: torch.Tensor

    def turn(self, states: torch.Tensor, backwards: bool = False) -> torch.Tensor:
        """Rotate (nodes, heads, dim) by position; `backwards` is the transposed, for gradients."""
        first, second = states.chunk(2, -1)
        sin = -self.sin if backwards else self.sin
        return torch.cat((first * self.cos - second * sin, second * self.cos + first * sin), -1)


class Attended(NamedTuple):
    """What the backward pass needs: (rows * key heads, places, dim) each, a key head's queries after one another."""

    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    through: torch.Tensor
    """Written out: the weights. Fused: the output, which knows how it was made."""


def attend(qkv: torch.Tensor, rotary: Rotary, heads: Heads, packed: Packed) -> tuple[torch.Tensor, Attended]:
    """(nodes, (query + 2 key) * dim) to (nodes, query * dim)."""
    turned = rotary.turn(qkv[:, : (heads.query + heads.key) * heads.dim].unflatten(1, (-1, heads.dim)))
    q = _by_row(turned[:, : heads.query] * heads.scale, packed, heads)
    k = _by_row(turned[:, heads.query :], packed, heads)
    v = _by_row(qkv[:, (heads.query + heads.key) * heads.dim :].unflatten(1, (-1, heads.dim)), packed, heads)
    if _written_out(packed):
        weights = _weights(q, k, packed.node_of.shape[1])
        out, saved = torch.bmm(weights, v), Attended(q, k, v, weights)
    else:
        with torch.enable_grad():
            saved = _fused(q.detach(), k.detach(), v.detach(), packed, heads)
        out = saved.through.detach()
    return _by_node(out, packed, heads)[packed.place_of], saved


def attend_backward(grad: torch.Tensor, saved: Attended, rotary: Rotary, heads: Heads, packed: Packed) -> torch.Tensor:
    """Gradient of `qkv`."""
    rows, longest = packed.node_of.shape
    padded = grad.new_zeros(rows * longest, grad.shape[1])
    padded[packed.place_of] = grad
    grad_out = _heads_first(padded.unflatten(1, (-1, heads.dim)), rows, heads)
    if _written_out(packed):
        grad_q, grad_k, grad_v = _written_out_backward(grad_out, saved)
    else:
        grad_q, grad_k, grad_v = torch.autograd.grad(saved.through, saved[:3], grad_out)
    turned = torch.cat(
        [_by_node(grad_q * heads.scale, packed, heads)[packed.place_of], _gathered(grad_k, packed, heads)], 1
    )
    flat = rotary.turn(turned.unflatten(1, (-1, heads.dim)), backwards=True).flatten(1)
    return torch.cat([flat, _gathered(grad_v, packed, heads)], 1)


def _written_out(packed: Packed) -> bool:
    _, longest = packed.node_of.shape
    return bool(packed.node_of.device.type == "cpu" and longest <= _WRITTEN_OUT_TOKENS)


def _weights(q: torch.Tensor, k: torch.Tensor, longest: int) -> torch.Tensor:
    mask = q.new_full((longest, longest), -torch.inf).triu_(1)
    scores = torch.bmm(q, k.transpose(1, 2)).unflatten(1, (-1, longest)).add_(mask)
    return torch.softmax(scores, -1).flatten(1, 2)


def _written_out_backward(grad: torch.Tensor, saved: Attended) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    q, k, v, weights = saved
    grad_v = torch.bmm(weights.transpose(1, 2), grad)
    grad_weights = torch.bmm(grad, v.transpose(1, 2))
    grad_scores = torch.ops.aten._softmax_backward_data(grad_weights, weights, -1, weights.dtype)
    return torch.bmm(grad_scores, k), torch.bmm(grad_scores.transpose(1, 2), q), grad_v


def _fused(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, packed: Packed, heads: Heads) -> Attended:
    rows, longest = packed.node_of.shape
    by_head = (each.requires_grad_().view(rows, -1, longest, heads.dim) for each in (q, k, v))
    queries, keys, values = by_head
    out = functional.scaled_dot_product_attention(queries, keys, values, is_causal=True, scale=1.0, enable_gqa=True)
    return Attended(q, k, v, out.reshape(q.shape))


def _by_row(states: torch.Tensor, packed: Packed, heads: Heads) -> torch.Tensor:
    """(nodes, heads, dim) to (rows * key heads, queries a key head * longest, dim)."""
    return _heads_first(states[packed.node_of.flatten()], packed.node_of.shape[0], heads)


def _heads_first(states: torch.Tensor, rows: int, heads: Heads) -> torch.Tensor:
    by_row = states.reshape(rows, -1, heads.key, states.shape[1] // heads.key, heads.dim)
    return by_row.permute(0, 2, 3, 1, 4).reshape(rows * heads.key, -1, heads.dim)


def _by_node(states: torch.Tensor, packed: Packed, heads: Heads) -> torch.Tensor:
    """(rows * key heads, queries a key head * longest, dim) to (places, heads * dim)."""
    rows, longest = packed.node_of.shape
    by_row = states.reshape(rows, heads.key, -1, longest, heads.dim)
    return by_row.permute(0, 3, 1, 2, 4).reshape(rows * longest, -1)


def _gathered(states: torch.Tensor, packed: Packed, heads: Heads) -> torch.Tensor:
    """Gradients of keys or values at every place, summed over the places of each node."""
    places = _by_node(states, packed, heads)
    nodes = places[packed.place_of]
    if len(packed.again_places):
        extra = torch.zeros_like(nodes, dtype=torch.float32)
        extra.index_add_(0, packed.again_nodes, places[packed.again_places].float())
        nodes = nodes + extra.to(nodes.dtype)
    return nodes
