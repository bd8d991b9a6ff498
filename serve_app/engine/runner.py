"""Owns the model and its tensors: turns a Plan into one token per sampled row. Used from one thread only."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from serve_app.core import EngineError
from serve_app.engine.cache import SlotCache, Window
from serve_app.engine.load import cache_argument
from serve_app.engine.lora import LoraPair, Selection, attach
from serve_app.engine.request import Chunk, Discard, Move, Plan, Request, Row, SampledToken
from serve_app.engine.sampler import sample


class Runner:
    """Runs any transformers decoder with full attention over slot caches.

    `adapters[i]` maps module path -> matrices; a request's `adapter` is an index into it. The model is changed: its
    linear layers that an adapter targets are wrapped. Its weights are not.
    """

    def __init__(self, model: Any, adapters: Sequence[Mapping[str, LoraPair]], max_rows: int, context: int) -> None:
        self._model = model
        self._device: torch.device = model.device
        self._cache = SlotCache(model.config.num_hidden_layers, max_rows, context)
        self._cache_argument = cache_argument(model)
        self._selection = Selection(self._device)
        attach(model, adapters, self._selection)

    def warm_up(self) -> None:
        """Allocate the cache and touch every weight, so that the first request does not pay. Raises EngineError."""
        row = Row(Request("warm-up", (0, 0), 2, Discard()), 0, random.Random(0))
        tokens = self.run(Plan((), (Chunk(row, 0, 2),)))
        row.num_prefilled, row.output_ids = 2, [0]
        tokens += self.run(Plan((row,), ()))
        self.clear(0)
        if None in tokens:
            raise EngineError("the base model's output is not finite; choose another dtype or pull the model again")

    def run(self, plan: Plan) -> list[SampledToken | None]:
        """A token for each of `plan.sampled`, in that order; None where a row's logits are not finite."""
        with torch.inference_mode():
            logits = [self._decode(plan.decodes)] if plan.decodes else []
            for chunk in plan.chunks:
                last = self._prefill(chunk)
                if chunk.last:
                    logits.append(last)
            return sample(torch.cat(logits), plan.sampled) if logits else []

    def move(self, move: Move) -> None:
        """Carry out a scheduler's move."""
        with torch.inference_mode():
            self._cache.move(move.source, move.target, move.num_tokens)

    def clear(self, index: int) -> None:
        """Zero the slot of a row that failed, so that nothing of it reaches the next row there."""
        with torch.inference_mode():
            self._cache.clear(index)

    def _decode(self, rows: Sequence[Row]) -> torch.Tensor:
        """One token for rows 0 to n-1; logits [n, vocab]."""
        self._selection.choose([row.request.adapter for row in rows])
        positions = self._tensor([[row.num_cached] for row in rows])
        view_length = max(row.num_cached for row in rows) + 1
        mask = torch.arange(view_length, device=self._device) <= positions  # [n, view_length]
        window = Window(0, len(rows), positions, view_length)
        return self._forward(self._tensor([[row.output_ids[-1]] for row in rows]), window, mask[:, None, None])

    def _prefill(self, chunk: Chunk) -> torch.Tensor:
        """A part of one row's prompt; logits [1, vocab] of its last token."""
        self._selection.choose([chunk.row.request.adapter])
        positions = torch.arange(chunk.start, chunk.end, device=self._device)
        mask = torch.arange(chunk.end, device=self._device) <= positions[:, None]  # [num_new, end]
        window = Window(chunk.row.index, 1, positions[None], chunk.end)
        ids = self._tensor([chunk.row.request.prompt_ids[chunk.start : chunk.end]])
        return self._forward(ids, window, mask[None, None])

    def _forward(self, ids: torch.Tensor, window: Window, mask: torch.Tensor) -> torch.Tensor:
        """ids [rows, num_new], mask [rows, 1, num_new, view_length] bool -> logits [rows, vocab] of the last token."""
        self._cache.look_at(window)
        output = self._model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=window.positions,
            use_cache=True,
            logits_to_keep=1,
            **{self._cache_argument: self._cache},
        )
        logits: torch.Tensor = output.logits[:, -1]
        return logits

    def _tensor(self, values: Sequence[Sequence[int]]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.int64, device=self._device)
