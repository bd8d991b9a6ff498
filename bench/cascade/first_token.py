"""What holding tokens back costs a streaming client: time to the first text, with the cascade and without.

Real models, one query at a time: the small one with its adapters and the demo's fallback. The policy is fitted on the
recorded outcomes of other queries. Threads are those of the process.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from bench.cascade.build import adapter_of
from bench.cascade.collect import ADAPTERS, MODELS
from bench.cascade.tasks import Task
from serve_app.adapters import load, shipped, verify
from serve_app.catalogue import resolve
from serve_app.confidence.fitted import FittedRule
from serve_app.confidence.policy import CascadePolicy
from serve_app.config import CascadeSettings
from serve_app.core import Answer, Call, Message, Query, RouteScore, SamplingParams
from serve_app.engines.local import EngineOptions, LocalEngine
from serve_app.patterns import Cascade, Node, Single, Trace
from serve_app.patterns.answerers import Answerer

SMALL = "specialists"


@dataclass(frozen=True)
class Timed:
    """One query's milliseconds to the first text."""

    outcome: Literal["accepted", "escalated", "undrafted"]
    """`undrafted`: of a route that the policy refuses, so the large model was asked at once."""
    cascade_ms: float
    small_ms: float
    large_ms: float


async def measure(
    policy: CascadePolicy, tasks: Sequence[Task], routes: Mapping[str, RouteScore], threads: int
) -> dict[str, Any]:
    """Each query three times: the cascade, the small model alone, the large model alone."""
    options = EngineOptions(threads=threads, max_rows=1, max_context_tokens=1024, prefix_slots=0)
    small_files = resolve(MODELS["small"])
    specs = [verify(load(shipped(name), name), small_files, False) for name in ADAPTERS]
    small = LocalEngine(small_files, specs, options)
    large = LocalEngine(resolve(MODELS["medium"]), [], options)
    await small.start()
    await large.start()
    small_node, large_node = Node(SMALL, MODELS["small"], small), Node("fallback", MODELS["medium"], large)
    cascade = Cascade(small_node, large_node, FittedRule(policy, CascadeSettings()))
    try:
        found = []
        for task in tasks:
            route, engines = routes[task.id], (small, large)
            adapter = adapter_of(route)
            cascade_ms, answer = await _timed(cascade, engines, task, route, adapter)
            small_ms, _ = await _timed(Single(small_node), engines, task, route, adapter)
            large_ms, _ = await _timed(Single(large_node), engines, task, route, None)
            found.append(Timed(_outcome(answer), cascade_ms, small_ms, large_ms))
    finally:
        await small.close()
        await large.close()
    return summary(found)


async def _timed(
    way: Answerer, engines: Sequence[LocalEngine], task: Task, route: RouteScore, adapter: str | None
) -> tuple[float, Answer]:
    """Milliseconds, and the account. Both engines answer something else first: their one cache slot must not hold the
    prompt from an earlier turn of the same query."""
    for engine in engines:
        other = Call("other", SamplingParams(max_tokens=1), (Message("user", "Name a river."),))
        async with aclosing(engine.generate(other)) as deltas:  # type: ignore[type-var]
            async for _ in deltas:
                pass
    return await _first_text(way, task, route, adapter)


async def _first_text(way: Answerer, task: Task, route: RouteScore, adapter: str | None) -> tuple[float, Answer]:
    query = Query(task.id, "auto", SamplingParams(max_tokens=task.max_tokens), (Message("user", task.question),))
    trace = Trace(query)
    trace.route = route
    started_s = time.perf_counter()
    async with aclosing(way.answer(query, trace, adapter, 0)) as deltas:
        async for delta in deltas:
            if delta.text or delta.finish_reason is not None:
                took_ms = (time.perf_counter() - started_s) * 1000
                break
    return took_ms, trace.answer()


def _outcome(answer: Answer) -> Literal["accepted", "escalated", "undrafted"]:
    if not answer.escalated:
        return "accepted"
    return "escalated" if any(attempt.node == SMALL for attempt in answer.attempts) else "undrafted"


def summary(found: Sequence[Timed]) -> dict[str, Any]:
    """What the cascade adds: to the small model alone where it accepted, to the large one alone where it escalated."""
    added = {
        "accepted": [one.cascade_ms - one.small_ms for one in found if one.outcome == "accepted"],
        "escalated": [one.cascade_ms - one.large_ms for one in found if one.outcome == "escalated"],
        "undrafted": [one.cascade_ms - one.large_ms for one in found if one.outcome == "undrafted"],
    }
    return {
        "queries": len(found),
        **{outcome: len(values) for outcome, values in added.items()},
        "small_alone_median_ms": float(np.median([one.small_ms for one in found])),
        "large_alone_median_ms": float(np.median([one.large_ms for one in found])),
        "added_where_accepted_ms": _quantiles(added["accepted"]),
        "added_where_escalated_after_a_draft_ms": _quantiles(added["escalated"]),
        "added_where_never_drafted_ms": _quantiles(added["undrafted"]),
    }


def _quantiles(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    return {"median": float(np.median(values)), "p90": float(np.quantile(values, 0.9))}
