"""The real pattern over a real engine, without HTTP: what `model: "ensemble"` answers to requests of the bench.

Two uses: the vote is held against the count on filed answers, request by request, and lock step, whose answer is no
member's own, can be had in no other way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing

from bench.ensemble.answers import GREEDY, ROWS, Price
from bench.ensemble.task import Request, asked
from bench.ensemble.votes import Said
from serve_app.adapters import AdapterSpec
from serve_app.catalogue import ModelFiles
from serve_app.config import EnsembleSettings, RoutesSettings
from serve_app.config.ensemble import Strategy
from serve_app.core import Engine, Query
from serve_app.patterns import Configured, Node, Trace
from serve_app.patterns.answerers import Answerer
from serve_app.patterns.ensemble import ensemble_of
from serve_app.patterns.ensemble.normalise import text as normalised


async def of_pattern(
    strategy: Strategy,
    engine: Engine,
    base: ModelFiles,
    members: Sequence[AdapterSpec],
    rows: Sequence[Request],
    price: Price,
) -> list[Said]:
    """The ensemble's answer to each request, as many requests at a time as the engine has rows for."""
    names = [one.name for one in members]
    settings = EnsembleSettings.model_validate(
        {"members": [{"model": name} for name in names], "strategy": strategy, "quorum": len(names)}
    )
    node = Node("specialists", base.alias, engine, adapters=Configured(tuple(names)))
    ensemble = ensemble_of(settings, RoutesSettings(), node, None, None)
    turn = asyncio.Semaphore(ROWS // len(names))

    async def one(row: Request) -> Said:
        async with turn:
            return await _ask(ensemble, row, price)

    return list(await asyncio.gather(*map(one, rows)))


async def _ask(ensemble: Answerer, row: Request, price: Price) -> Said:
    query = Query(row.id, "ensemble", GREEDY, asked(row))
    trace = Trace(query)
    async with aclosing(ensemble.answer(query, trace, None, 0)) as deltas:
        said = "".join([delta.text async for delta in deltas])
    attempts = trace.answer().attempts
    used = [attempt.usage for attempt in attempts]
    return Said(
        answer=normalised(said),
        confidence=next(one.confidence for one in attempts if one.outcome == "accepted") or 0.0,
        right=normalised(said) == normalised(row.intent),
        cost_nusd=sum(one.prompt_tokens * price.prompt + one.completion_tokens * price.completion for one in used),
        prompt_tokens=sum(one.prompt_tokens for one in used),
    )
