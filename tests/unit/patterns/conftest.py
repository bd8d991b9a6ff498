"""Engines that play back given deltas, and queries."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import pytest

from serve_app.core import Call, Delta, EngineInfo, Message, Query, SamplingParams, TokenStat, Usage


@dataclass
class Playback:
    """A core.Engine that yields one answer, its tokens grouped as told."""

    words: Sequence[str]
    logprobs: Sequence[float]
    groups: Sequence[int] = (1,)
    """Tokens per delta, over and over."""
    bare_end: bool = False
    """Send the finish reason in a delta of its own, with an end token that only the usage counts."""
    calls: list[Call] = field(default_factory=list)
    num_closed: int = 0

    async def generate(self, call: Call) -> AsyncIterator[Delta]:
        self.calls.append(call)
        stats = [TokenStat(0, w, p, 0.1, 1.0) for w, p in zip(self.words, self.logprobs, strict=True)]
        try:
            at, turn = 0, 0
            while at < len(stats):
                group = stats[at : at + self.groups[turn % len(self.groups)]]
                at, turn = at + len(group), turn + 1
                finish = "stop" if at == len(stats) and not self.bare_end else None
                yield Delta("".join(t.text for t in group), tuple(group), finish, Usage(7, 0, at, 0.1 * at), "v1")
            if self.bare_end or not stats:
                yield Delta("", (), "stop", Usage(7, 0, at + self.bare_end, 0.1 * at), "v1")
        finally:
            self.num_closed += 1

    async def info(self) -> EngineInfo:
        return EngineInfo("playback", 2048)


@pytest.fixture
def playback() -> type[Playback]:
    return Playback


@pytest.fixture
def query() -> Query:
    return Query("q1", "auto", SamplingParams(), (Message("user", "hi"),), created_at_s=1.0)
