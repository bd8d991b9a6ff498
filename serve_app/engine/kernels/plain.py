"""The kernels in torch operations: for any device, and what the native ones are tested against."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from serve_app.engine.bank import Site
from serve_app.engine.cache import SlotLayer
from serve_app.engine.kernels.protocol import Heads, Rotary
from serve_app.engine.sampler import LogitStats, logit_stats
from serve_app.engine.step import Run, Span, Step


class PlainKernels:
    """Kernels without compiled code."""

    name = "plain"
    tiled = False

    def add_norm(
        self, hidden: torch.Tensor, delta: torch.Tensor | None, weight: torch.Tensor, eps: float
    ) -> torch.Tensor:
        """See Kernels."""
        if delta is not None:
            hidden += delta
        return functional.rms_norm(hidden, (hidden.shape[-1],), weight, eps)

    def silu_mul(self, gate_up: torch.Tensor) -> torch.Tensor:
        """See Kernels."""
        gate, up = gate_up.chunk(2, dim=-1)
        return functional.silu(gate) * up

    def lora(self, x: torch.Tensor, out: torch.Tensor, site: Site, step: Step) -> None:
        """See Kernels. Runs of the same length, as in decode, go through one batched product."""
        runs = [run for run in step.runs if run.adapter_slot in site.users]
        for length in {run.end - run.first for run in runs}:
            _add(x, out, site, [run for run in runs if run.end - run.first == length])

    def attend(
        self, qkv: torch.Tensor, rotary: Rotary | None, layer: SlotLayer, step: Step, heads: Heads
    ) -> torch.Tensor:
        """See Kernels."""
        states = qkv.view(step.num_tokens, -1, heads.dim)
        query, key, value = states.split((heads.query, heads.key, heads.key), dim=1)
        if rotary is not None:
            query, key = _rotate(query, *rotary), _rotate(key, *rotary)
        layer.keys[step.slots, :, step.positions] = key
        layer.values[step.slots, :, step.positions] = value
        out = torch.empty_like(query)
        single = [span for span in step.spans if span.end - span.first == 1]
        if single:
            out[[span.first for span in single]] = _attend_single(query, layer, single, heads)
        for span in step.spans:
            if span.end - span.first > 1:
                out[span.first : span.end] = _attend_chunk(query, layer, span, heads)
        return out.flatten(1)

    def logit_stats(self, logits: torch.Tensor) -> LogitStats:
        """See Kernels."""
        return logit_stats(logits)


def _add(x: torch.Tensor, out: torch.Tensor, site: Site, runs: Sequence[Run]) -> None:
    """Add what the adapters of `runs`, all of the same length, make of their tokens."""
    tokens = torch.tensor([list(range(run.first, run.end)) for run in runs], device=x.device)
    slots = torch.tensor([run.adapter_slot for run in runs], device=x.device)
    picked = x[tokens]  # [runs, length, in]
    for member, width in enumerate(site.widths):
        rank = max(site.ranks[run.adapter_slot][member] for run in runs)
        if rank == 0:
            continue
        start = member * site.max_rank
        down = site.down[slots, start : start + rank]  # [runs, rank, in]
        start = site.max_rank * site.columns[member]
        up = site.up[slots, start : start + rank * width].view(len(runs), rank, width)
        added = torch.bmm(torch.bmm(picked, down.transpose(1, 2)), up)
        out[:, site.columns[member] : site.columns[member + 1]].index_add_(0, tokens.flatten(), added.flatten(0, 1))


def _rotate(states: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """states [tokens, heads, dim]."""
    first, second = states.chunk(2, dim=-1)
    return states * cos[:, None] + torch.cat((-second, first), dim=-1) * sin[:, None]


def _attend_single(query: torch.Tensor, layer: SlotLayer, spans: Sequence[Span], heads: Heads) -> torch.Tensor:
    """One token for each of several slots: [spans, query heads, dim]. Heads that share a key are taken as tokens."""
    slots = [span.slot for span in spans]
    lengths = torch.tensor([span.start + 1 for span in spans], device=query.device)
    longest = max(span.start for span in spans) + 1
    grouped = query[[span.first for span in spans]].unflatten(1, (heads.key, -1))
    mask = torch.arange(longest, device=query.device) < lengths[:, None]
    keys, values = layer.keys[slots, :, :longest], layer.values[slots, :, :longest]
    mixed = functional.scaled_dot_product_attention(
        grouped, keys, values, attn_mask=mask[:, None, None], scale=heads.scale
    )
    return mixed.flatten(1, 2)


def _attend_chunk(query: torch.Tensor, layer: SlotLayer, span: Span, heads: Heads) -> torch.Tensor:
    """Consecutive tokens of one slot: [tokens, query heads, dim]."""
    length = span.start + span.end - span.first
    places = torch.arange(length, device=query.device)
    mask = places <= places[span.start :, None]
    mixed = functional.scaled_dot_product_attention(
        query[span.first : span.end].transpose(0, 1)[None],
        layer.keys[span.slot, None, :, :length],
        layer.values[span.slot, None, :, :length],
        attn_mask=mask,
        scale=heads.scale,
        enable_gqa=heads.query != heads.key,
    )
    return mixed[0].transpose(0, 1)
