"""AdamW with float32 masters, so that low-rank matrices may live in bfloat16 beside a bfloat16 base.

A bfloat16 weight has 8 bits of mantissa: small updates would vanish in it. Gradients are summed, and moments and the
true weights kept, in float32; after each step the rounded weights are written back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch


class MasterAdamW:
    """Owns masters, moments and summed gradients of the named parameters. Not thread-safe."""

    def __init__(self, parameters: Mapping[str, torch.nn.Parameter], learning_rate: float, weight_decay: float) -> None:
        self._live = dict(parameters)
        self._masters = {name: live.detach().float().clone() for name, live in self._live.items()}
        for master in self._masters.values():
            master.grad = torch.zeros_like(master)
        self._adamw = torch.optim.AdamW(
            list(self._masters.values()), lr=learning_rate, betas=(0.9, 0.99), weight_decay=weight_decay, foreach=True
        )
        self._learning_rate = learning_rate

    def collect(self) -> None:
        """Add the live gradients to the masters' sums and clear the live ones."""
        for name, live in self._live.items():
            if live.grad is not None:
                total = self._masters[name].grad
                assert total is not None
                total.add_(live.grad.float())
                live.grad = None

    def step(self, learning_rate_factor: float, max_grad_norm: float) -> float:
        """One update from the collected gradients; returns their norm before clipping."""
        norm = float(torch.nn.utils.clip_grad_norm_(list(self._masters.values()), max_grad_norm))
        for group in self._adamw.param_groups:
            group["lr"] = self._learning_rate * learning_rate_factor
        self._adamw.step()
        self._adamw.zero_grad(set_to_none=False)
        self._write_back()
        return norm

    def weights(self) -> dict[str, torch.Tensor]:
        """A copy of the masters by name."""
        return {name: master.detach().clone() for name, master in self._masters.items()}

    def take(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Set the masters, and with them the live weights, to what `weights` gave; the moments stay."""
        with torch.no_grad():
            for name, master in self._masters.items():
                master.copy_(weights[name])
        self._write_back()

    def state(self) -> dict[str, torch.Tensor]:
        """Masters and moments under flat names, for a safetensors file."""
        tensors: dict[str, torch.Tensor] = {}
        for name, master in self._masters.items():
            tensors[f"weight/{name}"] = master.detach()
            for key, value in self._adamw.state.get(master, {}).items():
                tensors[f"{key}/{name}"] = value
        return tensors

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Take back what `state` gave."""
        with torch.no_grad():
            for name, master in self._masters.items():
                master.copy_(tensors[f"weight/{name}"])
                moments = ("step", "exp_avg", "exp_avg_sq")
                self._adamw.state[master] = {key: tensors[f"{key}/{name}"].clone() for key in moments}
        self._write_back()

    def _write_back(self) -> None:
        with torch.no_grad():
            for name, live in self._live.items():
                live.copy_(self._masters[name])


def learning_rate_factor(
    step_index: int, num_steps: int, warmup_share: float, schedule: Literal["cosine", "linear"]
) -> float:
    """Share of the peak rate at a step: linear warm-up, then down to a twentieth along the schedule.

    >>> [round(learning_rate_factor(step, 10, 0.2, "linear"), 3) for step in (0, 1, 2, 9)]
    [0.5, 1.0, 1.0, 0.169]
    """
    num_warmup = round(num_steps * warmup_share)
    if step_index < num_warmup:
        return (step_index + 1) / num_warmup
    progress = (step_index - num_warmup) / max(1, num_steps - num_warmup)
    share_left = 1 - progress if schedule == "linear" else 0.5 * (1 + math.cos(math.pi * progress))
    return 0.05 + 0.95 * share_left
