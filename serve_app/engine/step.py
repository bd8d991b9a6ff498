"""One forward pass as tensors: a flat batch of tokens, each with its place, its slot and its adapter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import torch

from serve_app.engine.request import Plan, Segment


@dataclass(frozen=True, slots=True)
class Span:
    """Tokens [first, end) of the batch belong to one cache slot; the first has the position `start`."""

    first: int
    end: int
    slot: int
    start: int


@dataclass(frozen=True, slots=True)
class Run:
    """Tokens [first, end) of the batch use one adapter. Tokens of the bare base are in no run."""

    adapter_slot: int
    first: int
    end: int


class Step:
    """What every layer of a forward pass needs to know. `scratch_ranks`: the most ranks that any site adds up."""

    def __init__(self, plan: Plan, device: torch.device, scratch_ranks: int = 0) -> None:
        segments = plan.segments
        self.num_tokens = plan.num_tokens
        self.spans = tuple(_spans(segments))
        self.runs = tuple(_runs(segments))
        ids = [token_id for segment in segments for token_id in segment.token_ids]
        positions = [place for segment in segments for place in range(segment.start, segment.end)]
        slots = [segment.row.slot for segment in segments for _ in segment.token_ids]
        numbers = torch.tensor([ids, positions, slots], dtype=torch.int64).to(device, non_blocking=True)
        self.ids, self.positions, self.slots = numbers
        """Each [tokens] int64."""
        self.sampled = torch.tensor(list(_sampled(segments)), dtype=torch.int64, device=device)
        """[sampled tokens] int64: tokens of the batch whose logits are wanted, in the order of `plan.sampled`."""
        self.all_sampled = len(self.sampled) == self.num_tokens
        self._runs = torch.tensor([(run.adapter_slot, run.first, run.end) for run in self.runs], dtype=torch.int32)
        self._scratch = torch.empty(self.num_tokens * scratch_ranks if self.runs else 0, dtype=torch.float32)
        self.slots_address, self.positions_address = self.slots.data_ptr(), self.positions.data_ptr()
        self.runs_address, self.scratch_address = self._runs.data_ptr(), self._scratch.data_ptr()


def _spans(segments: tuple[Segment, ...]) -> Iterator[Span]:
    first = 0
    for segment in segments:
        end = first + len(segment.token_ids)
        yield Span(first, end, segment.row.slot, segment.start)
        first = end


def _runs(segments: tuple[Segment, ...]) -> Iterator[Run]:
    first = 0
    for adapter_slot, same in groupby(segments, key=lambda segment: segment.row.adapter_slot):
        end = first + sum(len(segment.token_ids) for segment in same)
        if adapter_slot is not None:
            yield Run(adapter_slot, first, end)
        first = end


def _sampled(segments: tuple[Segment, ...]) -> Iterator[int]:
    first = 0
    for segment in segments:
        end = first + len(segment.token_ids)
        yield from range(end - segment.sampled, end)
        first = end
