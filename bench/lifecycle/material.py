"""Versions that differ, and what each of them answers when nobody else is asked."""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import random_adapters
from serve_app.adapters import AdapterSpec, load
from serve_app.catalogue import ModelFiles
from serve_app.core import Call, Message, SamplingParams
from serve_app.engines.local import EngineOptions, LocalEngine

MAX_TOKENS = 3
_RANK, _STD = 8, 0.1
_LEAST_MARGIN = 0.005
"""Between the two likeliest tokens, in nats. In float32 the order of a sum in another batch moves them by far less."""

WORDS = (
    "river",
    "lamp",
    "bread",
    "stone",
    "winter",
    "market",
    "violin",
    "harbour",
    "garden",
    "letter",
    "engine",
    "cloud",
)
TEXTS = tuple(f"Say something about a {one} and a {other}." for one in WORDS for other in WORDS if one != other)


@dataclass(frozen=True, slots=True)
class Truth:
    """What versions answer: (version, text) -> answer, of texts at which no version hesitates."""

    texts: tuple[str, ...]
    answers: dict[tuple[str, str], str]


def make_versions(model: Path, folder: Path, num_versions: int) -> tuple[AdapterSpec, ...]:
    """PEFT folders of random weights, large enough that their greedy answers differ."""
    names = [f"version-{number}" for number in range(1, num_versions + 1)]
    return tuple(load(path, path.name) for path in random_adapters.make(model, folder, names, _RANK, _STD))


async def learn(model: ModelFiles, versions: Sequence[AdapterSpec], num_texts: int) -> Truth:
    """Ask each version alone, in an engine of this process, for the first `num_texts` texts that all are sure of."""
    engine = LocalEngine(model, versions, EngineOptions(threads=1, dtype="float32", max_rows=1, max_context_tokens=256))
    await engine.start()
    try:
        texts: list[str] = []
        answers: dict[tuple[str, str], str] = {}
        for text in TEXTS:
            said = {version.version: await _answer(engine, version.name, text) for version in versions}
            sure = all(margin >= _LEAST_MARGIN for _, margin in said.values())
            if sure and len({answer for answer, _ in said.values()}) == len(versions):
                texts.append(text)
                answers |= {(version, text): answer for version, (answer, _) in said.items()}
            if len(texts) == num_texts:
                break
        return Truth(tuple(texts), answers)
    finally:
        await engine.close()


async def _answer(engine: LocalEngine, name: str, text: str) -> tuple[str, float]:
    """The greedy answer, and the least margin on its way."""
    call = Call("truth", SamplingParams(max_tokens=MAX_TOKENS, temperature=0), (Message("user", text),), adapter=name)
    answer, margin = "", math.inf
    async for delta in engine.generate(call):
        answer += delta.text
        margin = min([margin, *(token.margin for token in delta.tokens)])
    return answer, margin


def learn_now(model: ModelFiles, versions: Sequence[AdapterSpec], num_texts: int) -> Truth:
    """`learn`, outside an event loop."""
    return asyncio.run(learn(model, versions, num_texts))
