"""kernels.cpp behind the Kernels protocol: passes addresses and lengths, and lets go of the interpreter meanwhile."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch

from serve_app.engine.bank import Site
from serve_app.engine.cache import SlotLayer
from serve_app.engine.kernels.protocol import Heads, Rotary
from serve_app.engine.sampler import LogitStats, logit_stats
from serve_app.engine.step import Step

LANES = 16
"""Vectors are taken 16 numbers at a time, and lengths must be multiples of it."""
HEAD_DIMS = (32, 64, 96, 128, 256)
"""Lengths of a head that attention is compiled for; with any other it would read and write past the end."""
_SUFFIX = {torch.bfloat16: "bf16", torch.float32: "f32"}
_A, _N, _R = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float
_SIGNATURES = {
    "add_norm": (_A, _A, _A, _A, _N, _N, _R),
    "silu_mul": (_A, _A, _N, _N),
    "lora": (_A, _A, _A, _A, _A, _A, _N, _N, _N, _A, _N, _A),
    "attend": (_A, _A, _A, _A, _A, _A, _A, _A, _N, _N, _N, _N, _N, _R),
    "logit_stats": (_A, _N, _N, _A, _A, _A, _A, _A),
}


class NativeKernels:
    """Kernels for one dtype, on the CPU. Tensors must be contiguous: they are read by address."""

    name = "native"
    tiled = True

    def __init__(self, library: Path, dtype: torch.dtype) -> None:
        loaded = ctypes.CDLL(str(library))

        def function(name: str, dtype: torch.dtype) -> Callable[..., None]:
            found = getattr(loaded, f"{name}_{_SUFFIX[dtype]}")
            found.argtypes, found.restype = _SIGNATURES[name], None
            return cast("Callable[..., None]", found)

        self._add_norm, self._silu_mul = function("add_norm", dtype), function("silu_mul", dtype)
        self._lora, self._attend = function("lora", dtype), function("attend", dtype)
        self._stats = {each: function("logit_stats", each) for each in _SUFFIX}
        """By dtype of the logits, which need not be the model's: those of an ensemble are averaged in float32."""

    def add_norm(
        self, hidden: torch.Tensor, delta: torch.Tensor | None, weight: torch.Tensor, eps: float
    ) -> torch.Tensor:
        """See Kernels."""
        out = torch.empty_like(hidden)
        added = delta.data_ptr() if delta is not None else None
        self._add_norm(hidden.data_ptr(), added, weight.data_ptr(), out.data_ptr(), *hidden.shape, eps)
        return out

    def silu_mul(self, gate_up: torch.Tensor) -> torch.Tensor:
        """See Kernels."""
        tokens, width = gate_up.shape
        out = gate_up.new_empty((tokens, width // 2))
        self._silu_mul(gate_up.data_ptr(), out.data_ptr(), tokens, width // 2)
        return out

    def lora(self, x: torch.Tensor, out: torch.Tensor, site: Site, step: Step) -> None:
        """See Kernels."""
        if step.runs and site.users:
            self._lora(
                x.data_ptr(), out.data_ptr(), *site.arguments, step.runs_address, len(step.runs), step.scratch_address
            )

    def attend(
        self, qkv: torch.Tensor, rotary: Rotary | None, layer: SlotLayer, step: Step, heads: Heads
    ) -> torch.Tensor:
        """See Kernels."""
        out = qkv.new_empty((step.num_tokens, heads.query * heads.dim))
        cos, sin = (rotary[0].data_ptr(), rotary[1].data_ptr()) if rotary is not None else (None, None)
        self._attend(
            *(qkv.data_ptr(), cos, sin, layer.keys.data_ptr(), layer.values.data_ptr()),
            *(step.slots_address, step.positions_address, out.data_ptr()),
            *(step.num_tokens, heads.query, heads.key, heads.dim, layer.context, heads.scale),
        )
        return out

    def logit_stats(self, logits: torch.Tensor) -> LogitStats:
        """See Kernels."""
        stats = self._stats.get(logits.dtype)
        if stats is None:
            return logit_stats(logits)
        rows, vocab = logits.shape
        logits = logits.contiguous()
        best_ids = torch.empty(rows, dtype=torch.int64)
        best, second, log_sum_exp, entropy = torch.empty(4, rows)
        stats(
            *(logits.data_ptr(), rows, vocab, best_ids.data_ptr()),
            *(one.data_ptr() for one in (best, second, log_sum_exp, entropy)),
        )
        return LogitStats(best_ids, best, second, log_sum_exp, entropy)
