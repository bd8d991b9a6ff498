"""Answers of every kind to the questions: many at once for the table, one at a time for their latency."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.rag.kinds import Asked, Kind
from bench.rag.task import MAX_TOKENS
from serve_app.adapters import AdapterSpec
from serve_app.catalogue import resolve
from serve_app.core import SamplingParams
from serve_app.distill.answers import Ask, Generated, LocalAnswerer, generate
from serve_app.engines.local import EngineOptions, LocalEngine

SAMPLING = SamplingParams(max_tokens=MAX_TOKENS, temperature=0.0)
CONTEXT_TOKENS = 2048


async def answers(
    kind: Kind, asked: Sequence[Asked], adapters: Mapping[str, AdapterSpec], threads: int, cache: Path
) -> list[Generated]:
    """Greedy answers, in order; those in the folder `cache` are taken from there."""
    answerer = LocalAnswerer(
        resolve(kind.model), adapters[kind.adapter] if kind.adapter else None, threads, CONTEXT_TOKENS, cache
    )
    found = await answerer.answer([Ask(one.question.id, one.messages(kind), SAMPLING) for one in asked])
    return [found[one.question.id] for one in asked]


async def latencies(
    kinds: Sequence[Kind], asked: Sequence[Asked], adapters: Mapping[str, AdapterSpec], threads: int
) -> dict[str, float]:
    """Median seconds of a whole answer, asked one at a time on an engine that is up, the search not included."""
    found = {}
    for model in dict.fromkeys(kind.model for kind in kinds):
        mine = [kind for kind in kinds if kind.model == model]
        named = {kind.adapter for kind in mine if kind.adapter}
        options = EngineOptions(threads=threads, max_rows=1, max_waiting=1, max_context_tokens=CONTEXT_TOKENS)
        engine = LocalEngine(resolve(model), [adapters[name] for name in sorted(named)], options)
        await engine.start()
        try:
            for kind in mine:
                found[kind.name] = statistics.median([await _took_s(engine, kind, one) for one in asked])
        finally:
            await engine.close()
    return found


async def _took_s(engine: LocalEngine, kind: Kind, asked: Asked) -> float:
    begun_s = time.perf_counter()
    await generated(engine, kind, asked)
    return time.perf_counter() - begun_s


async def generated(engine: LocalEngine, kind: Kind, asked: Asked) -> Generated:
    """One answer of an engine that is up."""
    return await generate(engine, Ask(asked.question.id, asked.messages(kind), SAMPLING), kind.adapter)
