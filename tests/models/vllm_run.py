"""The engine over vLLM, by the Python of the environment it is installed in; `test_vllm.py` starts this as a process.

    python vllm_run.py REPORT < QUESTIONS

Runs the contract of all engines (tests/parts/engines/test_contract.py) over a real model with shipped adapters, then
what only a real one can show, and writes one JSON object. Questions are JSON, [[adapter or null, text, tokens], ...].
"""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil

from serve_app.config.nodes import AdapterSource, NodeSettings
from serve_app.core import Engine, Overloaded
from serve_app.engines.backends import backend
from tests.parts.engines.test_contract import OF_A_HOST
from tests.unit.engines.calls import ask, read

MAX_ROWS, MAX_WAITING, THREADS = 2, 1, 1
NODE = NodeSettings(
    model="smollm2-135m-instruct",
    engine="vllm",
    dtype="float32",
    max_rows=MAX_ROWS,
    max_waiting=MAX_WAITING,
    max_context_tokens=128,
    cache_mb=64,
)
ADAPTERS = {"legal": AdapterSource(path="shipped:legal"), "code": AdapterSource(path="shipped:code")}
LONGEST_S = 60.0


async def main() -> dict[str, Any]:
    started_s = time.perf_counter()
    engine = await backend("vllm")(NODE, ADAPTERS, THREADS)
    report: dict[str, Any] = {"start_s": time.perf_counter() - started_s}
    try:
        report["contract"] = {name: await outcome(test, engine) for name, test in OF_A_HOST.items()}
        report["overloaded"] = await outcome(refuses_one_too_many, engine)
        report["seeds"] = await outcome(same_seed_same_answer, engine)
        report["prefix"] = await outcome(reuses_a_prompt_and_says_so, engine)
        report["shares"] = await outcome(charges_no_more_time_than_went_by, engine)
        report["answers"] = [await answer(engine, *one) for one in json.load(sys.stdin)]
        report |= {"sockets": sockets(), "memory_mb": memory_mb()}
    finally:
        started = {one: one.name() for one in processes() if one.name().startswith("VLLM")}
        await engine.close()  # type: ignore[attr-defined]
    _, alive = psutil.wait_procs(list(started), timeout=LONGEST_S)
    report["left"] = [started[one] for one in alive]
    return report


async def outcome(test: Callable[..., Awaitable[None]], engine: Engine) -> str:
    """`passed`, or why not. The fixtures that a test names are given by hand."""
    fixtures = {"engine": engine, "asking": ask, "reading": read}
    try:
        async with asyncio.timeout(LONGEST_S):
            await test(**{name: fixtures[name] for name in inspect.signature(test).parameters})
    except Exception:  # whatever it is, the report says it
        return traceback.format_exc()
    return "passed"


async def refuses_one_too_many(engine: Engine) -> None:
    streams = [asyncio.ensure_future(read(engine, ask(max_tokens=60))) for _ in range(MAX_ROWS + MAX_WAITING)]
    while (await engine.info()).waiting_calls < MAX_WAITING:  # noqa: ASYNC110  (of this there is no event)
        await asyncio.sleep(0.001)
    try:
        await read(engine, ask())
    except Overloaded:
        pass
    else:
        raise AssertionError("one call too many was taken")
    assert all(one[-1].finish_reason for one in await asyncio.gather(*streams))
    info = await engine.info()
    assert (info.active_rows, info.waiting_calls) == (0, 0)


async def same_seed_same_answer(engine: Engine) -> None:
    wishes = {"temperature": 1.0, "max_tokens": 12}
    first, again, other = [await read(engine, ask(seed=seed, **wishes)) for seed in (5, 5, 6)]
    assert tokens_of(first) == tokens_of(again) != tokens_of(other)


async def reuses_a_prompt_and_says_so(engine: Engine) -> None:
    text = "one two three four five six seven eight nine ten " * 8
    before = (await engine.info()).reused_tokens
    first, again = [await read(engine, ask(text, max_tokens=2)) for _ in range(2)]
    assert first[-1].usage.cached_tokens == 0 < again[-1].usage.cached_tokens <= again[-1].usage.prompt_tokens
    assert (await engine.info()).reused_tokens - before == again[-1].usage.cached_tokens
    tuned = await read(engine, ask(text, adapter="code", max_tokens=2))
    assert tuned[-1].usage.cached_tokens == 0, "what another adapter computed must not be reused"


async def charges_no_more_time_than_went_by(engine: Engine) -> None:
    started_s = time.perf_counter()
    answers = await asyncio.gather(*(read(engine, ask(max_tokens=16)) for _ in range(2)))
    assert 0 < sum(one[-1].usage.busy_s for one in answers) <= time.perf_counter() - started_s


def tokens_of(deltas: Any) -> list[int]:
    return [token.token_id for delta in deltas for token in delta.tokens]


async def answer(engine: Engine, adapter: str | None, text: str, max_tokens: int) -> dict[str, Any]:
    deltas = await read(engine, ask(text, adapter=adapter, max_tokens=max_tokens, top_logprobs=2))
    tokens = [token for delta in deltas for token in delta.tokens]
    return {
        "text": "".join(delta.text for delta in deltas),
        "finish_reason": deltas[-1].finish_reason,
        "prompt_tokens": deltas[-1].usage.prompt_tokens,
        "versions": sorted({delta.adapter_version or "" for delta in deltas}),
        "tokens": [(one.token_id, one.text, one.logprob, one.entropy, one.margin, one.top) for one in tokens],
    }


def processes() -> list[psutil.Process]:
    """This one and all that vLLM started."""
    return [psutil.Process(), *psutil.Process().children(recursive=True)]


def sockets() -> list[str]:
    """Addresses that they listen on."""
    found = [one.net_connections("inet") for one in processes()]
    return sorted({one.laddr.ip for connections in found for one in connections if one.status == psutil.CONN_LISTEN})


def memory_mb() -> dict[str, int]:
    """Proportional set size by process."""
    return {f"{one.name()}/{one.pid}": one.memory_full_info().pss >> 20 for one in processes()}


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(asyncio.run(main())))  # vLLM's processes print on what this one has
