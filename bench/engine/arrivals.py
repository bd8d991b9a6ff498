"""Requests that arrive by chance, their adapters by popularity: how long each waits for its tokens.

The loop runs in its own thread, as in the product; adapters load through the real loader from real files. More adapters
are known than files exist: versions of the same file, which the engine cannot tell apart.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import quantiles
from typing import Any

import torch

from bench.engine.material import Material
from serve_app.catalogue import cache_dir
from serve_app.core import FinishReason, HeadraceError, Usage
from serve_app.engine.assembly import Assembly, assemble, make_loop
from serve_app.engine.load import read_pairs, use_one_core
from serve_app.engine.loader import AdapterLoader
from serve_app.engine.loop import EngineLoop
from serve_app.engine.options import EngineOptions
from serve_app.engine.request import Request, SampledToken

ANSWER_TOKENS = 32
ZIPF_EXPONENT = 1.0


@dataclass
class Clocked:
    """A Sink that keeps when its tokens came."""

    adapter: str
    asked_s: float
    at_s: list[float] = field(default_factory=list)
    failed: HeadraceError | None = None
    ended: threading.Event = field(default_factory=threading.Event)

    def token(self, token: SampledToken, finish: FinishReason | None, usage: Usage) -> bool:
        """See engine.request.Sink."""
        self.at_s.append(time.perf_counter())
        if finish is not None:
            self.ended.set()
        return False

    def fail(self, error: HeadraceError) -> None:
        """See engine.request.Sink."""
        self.failed = error
        self.ended.set()


class LiveEngine:
    """The engine with its thread and its loader. Nothing here may use several OpenMP threads outside the engine's."""

    def __init__(self, material: Material, num_known: int, num_resident: int, threads: int, max_rows: int) -> None:
        self.versions = [f"version-{index}" for index in range(num_known)]
        self._files = {name: material.adapters[at % len(material.adapters)] for at, name in enumerate(self.versions)}
        self.loads: list[tuple[float, float]] = []
        """When each load began and ended."""
        self._material = material
        self._options = EngineOptions(
            dtype=str(material.dtype).removeprefix("torch."),
            threads=threads,
            max_rows=max_rows,
            max_waiting=10_000,
            adapter_slots=num_resident,
            max_adapter_rank=16,
            max_context_tokens=256,
        )
        self.assembly: Assembly
        self.loop: EngineLoop
        self._ready = threading.Event()
        self.loader = AdapterLoader(
            self._load,
            lambda slot, version: self.loop.adapter_loaded(slot, version),
            lambda slot, version, error: self.loop.adapter_failed(slot, version, error),
        )
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._ready.wait()

    def _load(self, slot: int, version: str) -> None:
        use_one_core()
        start_s = time.perf_counter()
        self.assembly.bank.write(slot, read_pairs(self._files[version], self.assembly.target))
        self.loads.append((start_s, time.perf_counter()))

    def _run(self) -> None:
        torch.set_num_threads(self._options.threads)
        self.assembly = assemble(self._material.path, self._options, cache_dir() / "kernels")
        self.assembly.runner.warm_up()
        self.loop = make_loop(self.assembly, self.loader.request, (), nullcontext)
        for version in self.versions:
            self.loop.add_adapter(version)
        self._ready.set()
        self.loop.run()

    def close(self) -> None:
        """End both threads."""
        self.loop.close()
        self._thread.join()
        self.loader.close()


@dataclass(frozen=True)
class Traffic:
    """Requests over time. `popularity[i]` is the weight of adapter i."""

    per_s: float
    seconds: float
    popularity: Sequence[float]
    seed: int


def zipf(num_adapters: int) -> list[float]:
    """Weights 1, 1/2, 1/3, ..."""
    return [1 / (place + 1) ** ZIPF_EXPONENT for place in range(num_adapters)]


def send(engine: LiveEngine, traffic: Traffic, vocab: int, prompt_tokens: int) -> list[Clocked]:
    """Submit on time, whatever the engine's state (open loop), and wait for all answers."""
    chance = random.Random(traffic.seed)
    sinks: list[Clocked] = []
    begin_s, due_s = time.perf_counter(), 0.0
    while (due_s := due_s + chance.expovariate(traffic.per_s)) < traffic.seconds:
        prompt = tuple(chance.randrange(vocab) for _ in range(prompt_tokens))
        version = chance.choices(engine.versions, traffic.popularity)[0]
        time.sleep(max(0.0, begin_s + due_s - time.perf_counter()))
        sink = Clocked(version, time.perf_counter())
        sinks.append(sink)
        engine.loop.submit(Request(f"{traffic.seed}-{len(sinks)}", prompt, ANSWER_TOKENS, sink, version))
    for sink in sinks:
        sink.ended.wait(120)
    return sinks


def summary(sinks: Sequence[Clocked]) -> dict[str, Any]:
    """Milliseconds to the first token and between tokens."""
    done = [sink for sink in sinks if sink.failed is None and len(sink.at_s) == ANSWER_TOKENS]
    first = [1e3 * (sink.at_s[0] - sink.asked_s) for sink in done]
    between = [1e3 * (late - early) for sink in done for early, late in pairwise(sink.at_s)]
    return {
        "requests": len(sinks),
        "answered": len(done),
        "first_token_ms": _percentiles(first),
        "between_tokens_ms": _percentiles(between),
    }


def longest_gap_ms(sinks: Sequence[Clocked], loads: Sequence[tuple[float, float]]) -> dict[str, float]:
    """The longest wait between two tokens of a row: while an adapter was loading, and while none was."""
    longest = {"while_loading": 0.0, "otherwise": 0.0}
    for sink in sinks:
        for early, late in pairwise(sink.at_s):
            loading = any(begin < late and end > early for begin, end in loads)
            kind = "while_loading" if loading else "otherwise"
            longest[kind] = max(longest[kind], 1e3 * (late - early))
    return {kind: round(value, 1) for kind, value in longest.items()}


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    if len(values) < 2:
        return {}
    cuts = quantiles(values, n=100, method="inclusive")
    return {
        "p50": round(cuts[49], 1),
        "p90": round(cuts[89], 1),
        "p99": round(cuts[98], 1),
        "max": round(max(values), 1),
    }
