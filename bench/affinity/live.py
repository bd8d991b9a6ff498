"""Real replicas behind real Serve handles: the two ways of placing calls in turn, on the same calls."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bench.affinity.engines import NOTES_ENV, Door, loads
from bench.affinity.material import RANK, make_many
from bench.engine.arrivals import zipf
from bench.machine import REPO
from serve_app.catalogue import resolve
from serve_app.config import Settings, load
from serve_app.core import Call, Message, SamplingParams
from serve_app.deployments.switches import one_machine

MODEL = "smollm2-135m-instruct"
NUM_ADAPTERS, SLOTS, REPLICAS, ROWS = 200, 32, 2, 16
ANSWER_TOKENS = 16
PROMPT = "Say in one sentence what the word number {} reminds you of, and why somebody else might not agree with that."
WAYS = {"affinity": "auto", "power of two": "off"}
"""Application -> how its calls are routed."""
LOAD = 0.35
"""Of the rate at which the replicas answered calls of the bare base, all at once."""


@dataclass(frozen=True)
class Sizes:
    """How much of it."""

    warm_s: float = 60.0
    round_s: float = 60.0
    rounds: int = 4
    pairs: int = 24
    calls: int = 2000
    """For the router's own time."""


QUICK, FULL = Sizes(warm_s=20.0, round_s=14.0, rounds=4, pairs=10, calls=400), Sizes()


@dataclass(frozen=True)
class Timed:
    """One call."""

    due_s: float
    adapter: str | None
    index: int


def settings(adapters: Mapping[str, Path], route: str, engine: str) -> Settings:
    """Two specialists of one thread."""
    node = {"model": MODEL, "engine": f"bench.affinity.engines:{engine}", "max_rows": ROWS, "adapter_slots": SLOTS}
    node |= {"max_context_tokens": 256, "max_adapter_rank": RANK, "dtype": "bfloat16", "max_waiting": 1000}
    two = {"num_cpus": 0.25, "min_replicas": REPLICAS, "max_replicas": REPLICAS}
    return Settings.model_validate(
        load("demo").model_dump(exclude_unset=True)
        | {
            "specialists": node,
            "adapters": {name: {"path": str(path), "base_override": True} for name, path in adapters.items()},
            "routes": {"adapters": {}, "default": "base"},
            "deployments": {"specialists": two},
            "scaling": {"affinity": {"route": route}},
        }
    )


@contextmanager
def private_ray(notes: Path) -> Iterator[None]:
    """A Ray of our own with the switches of `headrace serve`."""
    run_dir = Path(tempfile.mkdtemp(prefix="headrace-", dir="/tmp")) / "r"  # short: Unix sockets lie in it
    run_dir.mkdir()
    os.environ.pop("RAY_ADDRESS", None)
    path = os.pathsep.join([str(REPO), os.environ.get("PYTHONPATH", "")])
    os.environ |= one_machine(run_dir) | {NOTES_ENV: str(notes), "PYTHONPATH": path}
    from serve_app.deployments.reports import Reporter
    from serve_app.deployments.stack import Stack

    stack = Stack(load("demo"), run_dir, 0)
    try:
        stack.start_ray()
        from ray import serve

        serve.start(proxy_location="Disabled")
        yield
    finally:
        stack.stop(Reporter(as_json=True), keep_logs=False)
        shutil.rmtree(run_dir.parent, ignore_errors=True)


def deploy(name: str, given: Settings) -> Any:
    """One application of specialists alone; the engine's protocol over its handle."""
    from ray import serve

    from serve_app.deployments.affinity import router_config
    from serve_app.deployments.bind import serve_options
    from serve_app.deployments.engine import EngineServer
    from serve_app.deployments.handles import EngineHandle

    options = serve_options(given, "specialists") | {"request_router_config": router_config(given)}
    deployment = serve.deployment(EngineServer, name="Specialists", **options)
    threads = given.deployments.specialists.threads
    app = deployment.bind(given.specialists, given.adapters, threads, given.telemetry, "specialists")
    door = serve.deployment(Door, name="Door", ray_actor_options={"num_cpus": 0})
    serve.run(door.bind(app), name=name, route_prefix=None)
    return EngineHandle(serve.get_deployment_handle("Specialists", name), "specialists")


def measure(quick: bool, folder: Path) -> dict[str, Any]:
    """Replicas, then the router's own time."""
    sizes = QUICK if quick else FULL
    adapters = make_many(resolve(MODEL).path, folder, NUM_ADAPTERS)
    notes = folder / "notes"
    notes.mkdir()
    with private_ray(notes):
        return asyncio.run(_served(sizes, adapters, notes))


async def _served(sizes: Sizes, adapters: Mapping[str, Path], notes: Path) -> dict[str, Any]:
    """Handles end in the loop they were used in."""
    from ray import serve

    try:
        return await _measured(sizes, adapters, notes)
    finally:
        await serve.shutdown_async()


async def _measured(sizes: Sizes, adapters: Mapping[str, Path], notes: Path) -> dict[str, Any]:
    plain = {way: deploy(f"scripted {way}", settings(adapters, route, "scripted")) for way, route in WAYS.items()}
    overhead = await router_time(plain, sorted(adapters), sizes.calls)
    engines = {way: deploy(way, settings(adapters, route, "noted")) for way, route in WAYS.items()}
    load_ms = await time_to_load(engines["affinity"], sorted(adapters)[-sizes.pairs :])
    rate = LOAD * await whole_rate(engines["affinity"])
    popular = random.Random(7).sample(sorted(adapters), len(adapters))
    for way, engine in engines.items():
        await play(engine, traffic(popular, rate, sizes.warm_s, seed=0))
        print(f"{way} is warm", flush=True)
    seen: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for turn in range(sizes.rounds):
        calls = traffic(popular, rate, sizes.round_s, seed=turn + 1)
        for way in (*WAYS, *reversed(WAYS))[2 * (turn % 2) :][:2]:
            before = loads(notes, way)
            first_ms = await play(engines[way], calls)
            await asyncio.sleep(1.0)  # the notes are a little late
            seen[way].append({"calls": len(calls), "loads": loads(notes, way) - before, "first_ms": first_ms})
    return {
        "adapters": {"number": NUM_ADAPTERS, "rank": RANK, "slots": SLOTS, "zipf": 1.0},
        "replicas": REPLICAS,
        "calls_per_s": round(rate, 2),
        "load_ms": round(load_ms, 1),
        "live": {way: figures(rounds) for way, rounds in seen.items()},
        "overhead": overhead,
        "load_1min_after": round(os.getloadavg()[0], 2),
    }


def figures(rounds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Over all rounds of one way."""
    first_ms = [ms for one in rounds for ms in one["first_ms"]]
    calls, loaded = (sum(one[key] for one in rounds) for key in ("calls", "loads"))
    p50, p99 = np.percentile(first_ms, [50, 99])
    return {
        "calls": calls,
        "loads": loaded,
        "hit_rate": round(1 - loaded / calls, 4),
        "hit_rate_by_round": [round(1 - one["loads"] / one["calls"], 3) for one in rounds],
        "first_token_p50_ms": round(float(p50), 1),
        "first_token_p99_ms": round(float(p99), 1),
        "first_token_p99_ms_by_round": [round(float(np.percentile(one["first_ms"], 99)), 1) for one in rounds],
    }


def traffic(popular: Sequence[str], rate: float, seconds: float, seed: int) -> list[Timed]:
    """Calls by chance; the first of `popular` is asked for most."""
    chance, weights = random.Random(seed), list(accumulate(zipf(len(popular))))
    calls: list[Timed] = []
    due_s = 0.0
    while (due_s := due_s + chance.expovariate(rate)) < seconds:
        calls.append(Timed(due_s, chance.choices(popular, cum_weights=weights)[0], 1000 * seed + len(calls)))
    return calls


async def play(engine: Any, calls: Sequence[Timed]) -> list[float]:
    """Send on time, whatever the replicas' state; milliseconds to each first token from when the call was due."""
    begin_s = time.perf_counter()

    async def one(timed: Timed) -> float:
        await asyncio.sleep(max(0.0, begin_s + timed.due_s - time.perf_counter()))
        return 1000 * (await first_token_at_s(engine, timed.adapter, timed.index) - begin_s - timed.due_s)

    return list(await asyncio.gather(*map(one, calls)))


async def first_token_at_s(engine: Any, adapter: str | None, index: int) -> float:
    """Ask, read to the end."""
    message = Message("user", PROMPT.format(index))
    call = Call(f"call-{index}", SamplingParams(max_tokens=ANSWER_TOKENS), (message,), adapter=adapter)
    at_s = 0.0
    async with aclosing(engine.generate(call)) as deltas:
        async for _ in deltas:
            at_s = at_s or time.perf_counter()
    return at_s


async def time_to_load(engine: Any, unused: Sequence[str]) -> float:
    """Milliseconds: by how much a call whose adapter is not loaded is later than the next one for it. Medians."""
    later_ms = []
    for index, adapter in enumerate(unused):
        took_s = []
        for turn in range(2):
            begin_s = time.perf_counter()
            took_s.append(await first_token_at_s(engine, adapter, 100 * index + turn) - begin_s)
        later_ms.append(1000 * (took_s[0] - took_s[1]))
    return max(1.0, median(later_ms))


async def whole_rate(engine: Any, count: int = 64) -> float:
    """Calls a second of all replicas, kept busy."""
    begin_s = time.perf_counter()
    await asyncio.gather(*(first_token_at_s(engine, None, -index) for index in range(count)))
    return count / (time.perf_counter() - begin_s)


async def router_time(engines: Mapping[str, Any], names: Sequence[str], count: int) -> dict[str, Any]:
    """Milliseconds of whole calls one after the other, engines that answer at once, the two ways in turn."""
    chance = random.Random(3)
    took_ms: dict[str, list[float]] = {way: [] for way in engines}
    for index in range(count + 100):
        adapter = chance.choice(names)
        for way, engine in engines.items():
            begin_s = time.perf_counter()
            await first_token_at_s(engine, adapter, index)
            if index >= 100:  # until then all is warming up
                took_ms[way].append(1000 * (time.perf_counter() - begin_s))
    rows = {
        way: dict(zip(("p50_ms", "p99_ms"), np.percentile(took, [50, 99]), strict=True))
        for way, took in took_ms.items()
    }
    rows = {way: {key: round(float(value), 3) for key, value in row.items()} for way, row in rows.items()}
    return {
        "calls": count,
        **rows,
        "added_p50_ms": round(rows["affinity"]["p50_ms"] - rows["power of two"]["p50_ms"], 3),
    }
