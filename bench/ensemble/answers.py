"""Answers of the members and of the large model to many requests, through the product's engine, many rows at a time.

All members answer in one engine, rows of different adapters in one batch. What was answered once by the same adapter
version to the same turns is kept in the cache folder (`serve_app.distill.answers`) and costs nothing the next time.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from bench.ensemble.task import MAX_TOKENS, Request, asked
from bench.ensemble.votes import Said
from serve_app.adapters import AdapterSpec
from serve_app.catalogue import ModelFiles
from serve_app.core import Engine, Message, SamplingParams
from serve_app.distill.answers import Ask, Generated, LocalAnswerer, generate
from serve_app.engines.local import EngineOptions, LocalEngine
from serve_app.patterns.ensemble.normalise import text as normalised

GREEDY = SamplingParams(max_tokens=MAX_TOKENS, temperature=0.0)
ROWS = 32
_CONTEXT_TOKENS = 512
_LARGE_CONTEXT_TOKENS = 4096
_LARGE_ROWS = 16


@dataclass(frozen=True, slots=True)
class Price:
    """Nano-dollars a token."""

    prompt: float
    completion: float


@asynccontextmanager
async def engine_of(base: ModelFiles, members: Sequence[AdapterSpec], threads: int) -> AsyncIterator[LocalEngine]:
    """One engine with all members."""
    engine = LocalEngine(
        base,
        members,
        EngineOptions(threads=threads, max_rows=ROWS, max_waiting=100_000, max_context_tokens=_CONTEXT_TOKENS),
    )
    await engine.start()
    try:
        yield engine
    finally:
        await engine.close()


async def of_members(
    engine: Engine,
    base: ModelFiles,
    members: Sequence[AdapterSpec],
    rows: Sequence[Request],
    price: Price,
    sampling: SamplingParams = GREEDY,
) -> list[list[Said]]:
    """For each request, what each member said, in their order."""

    @asynccontextmanager
    async def shared(asker: LocalAnswerer, num_asks: int) -> AsyncIterator[Engine]:
        yield engine

    asks = [Ask(row.id, asked(row), sampling) for row in rows]
    found = await asyncio.gather(*(LocalAnswerer(base, one, engine=shared).answer(asks) for one in members))
    return [[_said(of_one[row.id], row, price) for of_one in found] for row in rows]


async def of_samples(
    engine: Engine,
    base: ModelFiles,
    member: AdapterSpec,
    rows: Sequence[Request],
    price: Price,
    sampling: SamplingParams,
    num_samples: int,
) -> list[list[Said]]:
    """For each request, several answers of one member, each drawn with a seed of its own."""
    drawn = []
    for seed in range(num_samples):
        by_row = await of_members(engine, base, [member], rows, price, replace(sampling, seed=seed))
        drawn.append([said for (said,) in by_row])
    return [list(said) for said in zip(*drawn, strict=True)]


async def of_large(
    model: ModelFiles, shown: Sequence[Message], rows: Sequence[Request], price: Price, threads: int
) -> list[Said]:
    """What the large model said, with the same turns before each request. These are computed once."""
    options = EngineOptions(
        threads=threads, max_rows=_LARGE_ROWS, max_waiting=100_000, max_context_tokens=_LARGE_CONTEXT_TOKENS
    )

    @asynccontextmanager
    async def opened(asker: LocalAnswerer, num_asks: int) -> AsyncIterator[Engine]:
        engine = LocalEngine(model, [], options)
        await engine.start()
        try:
            # one row reads the examples, the others find them read
            await generate(engine, Ask("first", asks[0].messages, replace(GREEDY, max_tokens=1)), None)
            yield engine
        finally:
            await engine.close()

    asks = [Ask(row.id, (*shown, *asked(row)), GREEDY) for row in rows]
    found = await LocalAnswerer(model, engine=opened).answer(asks)
    return [_said(found[row.id], row, price) for row in rows]


def _said(answer: Generated, row: Request, price: Price) -> Said:
    logprobs = [min(token[0], 0.0) for token in answer.tokens]
    said = normalised(answer.text)
    return Said(
        answer=said,
        confidence=math.exp(sum(logprobs) / len(logprobs)) if logprobs else 0.0,
        right=said == normalised(row.intent),
        cost_nusd=answer.prompt_tokens * price.prompt + answer.completion_tokens * price.completion,
        prompt_tokens=answer.prompt_tokens,
    )
