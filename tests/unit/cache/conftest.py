"""Queries, answers, and an encoder that counts letters."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from serve_app.cache import CachedAnswer, Recording
from serve_app.core import Answer, Attempt, Delta, EngineError, Message, Query, SamplingParams, TokenStat, Usage


class LetterVectors:
    """A cache.VectorSource: one dimension a letter, so that texts of the same letters are alike."""

    digest = "letters"

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.broken = False

    async def vector(self, text: str) -> np.ndarray | None:
        self.asked.append(text)
        if self.broken:
            raise EngineError("The encoder is away.")
        return self._vector(text)

    def vectors(self, texts: Sequence[str]) -> list[np.ndarray | None]:
        return [self._vector(text) for text in texts]

    def _vector(self, text: str) -> np.ndarray | None:
        if len(text) > 200:
            return None
        counts = np.array([text.lower().count(chr(97 + place)) for place in range(26)], dtype=np.float32) + 0.01
        return counts / np.linalg.norm(counts)


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def make_query(text: str = "What is the capital of France?", **changes: Any) -> Query:
    """One question; `sampling` fields and query fields may be changed."""
    sampling = SamplingParams(temperature=0.0)
    query = Query("q1", "auto", sampling, (Message("user", text),), key_id="alice", created_at_s=1.0)
    fields = {name: value for name, value in changes.items() if name in Query.__dataclass_fields__}
    rest = {name: value for name, value in changes.items() if name not in fields}
    return replace(query, sampling=replace(sampling, **rest), **fields)


def make_answer(text: str = "Paris", num_choices: int = 1, **account: Any) -> CachedAnswer:
    """What a gateway would keep of an answer in one-character tokens."""
    recording = Recording(num_choices)
    for choice in range(num_choices):
        for place, letter in enumerate(text):
            last = place == len(text) - 1
            stat = TokenStat(ord(letter), letter, -0.1, 0.2, 3.0)
            usage = Usage(7, 2, place + 1, 0.1)
            recording.add(choice, Delta(letter, (stat,), "stop" if last else None, usage, "v1"))
    attempt = Attempt("specialists", "small", "legal", "accepted", Usage(7, 2, len(text), 0.1), 12.0, "v1")
    fields = {"adapter": "legal", "adapter_version": "v1", "model": "small", "cost_nusd": 900, **account}
    answer = recording.answer(Answer("q0", 1.0, "auto", "accepted", (attempt,), **fields))
    assert answer is not None
    return answer


@pytest.fixture
def query() -> Callable[..., Query]:
    return make_query


@pytest.fixture(scope="session")
def answer() -> Callable[..., CachedAnswer]:
    return make_answer


@pytest.fixture
def vectors() -> LetterVectors:
    return LetterVectors()


@pytest.fixture(scope="session")
def new_clock() -> type[Clock]:
    return Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()
