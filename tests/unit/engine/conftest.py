"""A driver that steps the true loop, and what it records."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import pytest

from serve_app.core import FinishReason, HeadraceError, Usage
from serve_app.engine.admission import EngineLimits
from serve_app.engine.loop import Books, EngineLoop
from serve_app.engine.request import Discard, Request, Row, SampledToken, Segment
from serve_app.engine.residency import Residency
from serve_app.engine.scheduler import Scheduler
from serve_app.engine.slots import SlotTable


@dataclass
class Recorder:
    """A Sink that keeps what it is told; asks to stop once `stop_after` tokens are in."""

    stop_after: int | None = None
    tokens: list[SampledToken] = field(default_factory=list)
    usages: list[Usage] = field(default_factory=list)
    finish: FinishReason | None = None
    error: HeadraceError | None = None

    def token(self, token: SampledToken, finish: FinishReason | None, usage: Usage) -> bool:
        assert self.finish is None and self.error is None, "nothing may follow the end"
        self.tokens.append(token)
        self.usages.append(usage)
        self.finish = finish
        return len(self.tokens) == self.stop_after

    def fail(self, error: HeadraceError) -> None:
        assert self.finish is None and self.error is None, "nothing may follow the end"
        self.error = error

    @property
    def ids(self) -> list[int]:
        return [token.token_id for token in self.tokens]


class Driver:
    """The true loop, stepped by the test instead of a thread. Adapters are named "0", "1", ... and all resident."""

    def __init__(
        self,
        runner: Any,
        max_rows: int = 8,
        step_tokens: int = 64,
        end_ids: Sequence[int] = (),
        num_adapters: int = 3,
        num_slots: int | None = None,
        draft_tokens: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.slots = SlotTable(num_slots or max_rows)
        self.residency = Residency(max(1, num_adapters), lambda slot, version: None)
        self.scheduler = Scheduler(EngineLimits(max_rows, 64, step_tokens), self.slots, self.residency)
        books = Books(self.scheduler, self.slots, self.residency)
        self.loop = EngineLoop(books, runner, end_ids, nullcontext, draft_tokens, clock)
        for index in range(num_adapters):
            self.loop.add_adapter(str(index))
            self.loop.preload_adapter(str(index))
            self.loop.adapter_loaded(index, str(index))

    def submit(self, prompt: Sequence[int], name: str = "", stop_after: int | None = None, **fields: Any) -> Recorder:
        sink = Recorder(stop_after)
        request_id = name or f"request-{id(sink)}"
        self.loop.submit(Request(request_id, tuple(prompt), sink=sink, **{"max_tokens": 12, **fields}))
        return sink

    def finish(self) -> None:
        while not self.scheduler.idle:
            self.loop.step()
        self.scheduler.check()


def segment(
    slot: int, start: int, token_ids: Sequence[int], sampled: int = 1, adapter_slot: int | None = None
) -> Segment:
    """Tokens of a row that does nothing else."""
    row = Row(Request(f"row-{slot}", (1,), 9, Discard()), slot, adapter_slot, random.Random(0))
    return Segment(row, start, tuple(token_ids), sampled)


@pytest.fixture
def drive() -> Callable[..., Driver]:
    return Driver
