"""Turns a plan into tokens: one forward pass over all its segments, one look at the logits. Used from one thread."""

from __future__ import annotations

import random

import torch

from serve_app.core import EngineError
from serve_app.engine.decoders import Decoder
from serve_app.engine.decoders.protocol import Parts
from serve_app.engine.request import Discard, Plan, Request, Row, SampledToken, Segment
from serve_app.engine.sampler import sample
from serve_app.engine.step import Step


class Runner:
    """A decoder with its cache."""

    def __init__(self, decoder: Decoder, parts: Parts, device: torch.device) -> None:
        self._decoder = decoder
        self._parts = parts
        self._device = device

    def run(self, plan: Plan) -> list[tuple[SampledToken, ...] | None]:
        """The tokens of each of `plan.sampled`, in that order; None where a row's logits are not finite."""
        with torch.inference_mode():
            for copy in plan.copies:
                self._parts.cache.copy(copy)
            step = Step(plan, self._device, self._parts.bank.scratch_ranks)
            return sample(self._decoder.forward(step), plan.sampled, self._parts.kernels.logit_stats)

    def clear(self, slot: int) -> None:
        """Zero the slot of a row that failed, so that nothing of it reaches the next row there."""
        with torch.inference_mode():
            self._parts.cache.clear(slot)

    def warm_up(self) -> None:
        """Touch every weight, so that the first request does not pay. Raises EngineError."""
        row = Row(Request("warm-up", (0, 0), 2, Discard()), 0, None, random.Random(0))
        prompt = self.run(Plan((Segment(row, 0, (0, 0), 1),)))
        row.num_prefilled, row.output_ids = 2, [0]
        answer = self.run(Plan((Segment(row, 2, (0,), 1),)))
        self.clear(0)
        if None in (*prompt, *answer):
            raise EngineError("the base model's output is not finite; choose another dtype or pull the model again")
