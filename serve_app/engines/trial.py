"""A trial: what a version of an adapter answers, before anybody can ask for it."""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from serve_app.core import Call, Engine, EngineError, Message, SamplingParams, TokenStat
from serve_app.engines.versions import AdapterHost

PROMPT = "In two sentences: what can you help me with, and what can you not?"
MAX_TOKENS = 24
TIMEOUT_S = 60.0
"""For each of the two answers, the wait for a row included."""
_SAME_LOGPROB = 0.01
"""Nats that the same token may differ by where an adapter changes nothing: sums are not always made in one order."""


class VersionedEngine(Engine, AdapterHost, Protocol):
    """An engine that holds versions."""


async def trial(engine: VersionedEngine, folder: Path, base_override: bool) -> dict[str, Any]:
    """Hold the folder's adapter under no name of the registry, ask it and the base greedily, and drop it again.

    The base has the adapter's system prompt, so that what differs is the weights' doing. Plain JSON: `base_verified`
    (its manifest names this base's digest), `text`, `tokens`, `mean_logprob` (natural logarithm; null where there is no
    token), `finite`, `differs_from_base`, `ms` of the adapter's answer, its loading included, and `error`: why it broke
    off, or null. Raises AdapterError where this engine cannot hold it, EngineError where the base does not answer.
    """
    name = f"trial-{uuid.uuid4().hex[:12]}"
    adapter = await asyncio.to_thread(engine.read_adapter, folder, name, base_override)
    system = adapter.manifest.system_prompt
    messages = (*((Message("system", system),) if system else ()), Message("user", PROMPT))
    _, base = await _answer(engine, messages)
    started_s, error = time.perf_counter(), None
    text, tokens = "", list[TokenStat]()
    await engine.add_version(adapter)
    try:
        text, tokens = await _answer(engine, messages, name, adapter.version)
    except EngineError as caught:
        error = str(caught)
    finally:
        await engine.drop_version(name, adapter.version)
    logprobs = [token.logprob for token in tokens]
    return {
        "base_verified": adapter.verified,
        "text": text,
        "tokens": len(tokens),
        "mean_logprob": sum(logprobs) / len(logprobs) if logprobs else None,
        "finite": error is None and all(map(math.isfinite, logprobs)),
        "differs_from_base": error is None and _differ(tokens, base),
        "ms": (time.perf_counter() - started_s) * 1000,
        "error": error,
    }


async def _answer(
    engine: Engine, messages: tuple[Message, ...], name: str | None = None, version: str | None = None
) -> tuple[str, list[TokenStat]]:
    wishes = SamplingParams(max_tokens=MAX_TOKENS, temperature=0.0)
    call = Call("trial", wishes, messages, adapter=name, adapter_version=version, timeout_s=TIMEOUT_S)
    deltas = [delta async for delta in engine.generate(call)]
    return "".join(delta.text for delta in deltas), [token for delta in deltas for token in delta.tokens]


def _differ(one: Sequence[TokenStat], other: Sequence[TokenStat]) -> bool:
    if [token.token_id for token in one] != [token.token_id for token in other]:
        return True
    return any(abs(mine.logprob - its.logprob) > _SAME_LOGPROB for mine, its in zip(one, other, strict=True))
