"""A scripted engine that answers groups, and ensembles over it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import pytest

from serve_app.config import EnsembleSettings, RoutesSettings
from serve_app.core import Delta, Group, HeadraceError, MemberDelta, Message, Query, ReplicaLost, SamplingParams
from serve_app.engines.fake import FakeAnswer, FakeEngine
from serve_app.patterns import Configured, Node, Trace
from serve_app.patterns.ensemble import LargeModel, ensemble_of

ADAPTERS = {"legal": "v1", "code": "v2", "medical": "v3"}
QUERY = Query("q1", "ensemble", SamplingParams(), (Message("user", "How many?"),), created_at_s=1.0)


@dataclass
class Chorus(FakeEngine):
    """A FakeEngine whose members wait for a word from the test, and fail when told to."""

    groups: list[Group] = field(default_factory=list)
    waits: dict[str | None, asyncio.Event] = field(default_factory=dict)
    """Adapter -> what its first token waits for."""
    errors: dict[str | None, HeadraceError] = field(default_factory=dict)
    """Adapter -> its error, in the place of an answer."""
    lost: int = 0
    """Groups from the first on that end with ReplicaLost, after their first member's answer."""
    num_closed: int = 0

    async def generate_group(self, group: Group) -> AsyncIterator[MemberDelta]:
        self.groups.append(group)
        queue: asyncio.Queue[MemberDelta | None] = asyncio.Queue()
        tasks = [asyncio.create_task(self._speak(place, group, queue)) for place in range(len(group.calls))]
        num_open, is_lost = len(tasks), self.lost >= len(self.groups)
        try:
            while num_open:
                said = await queue.get()
                if said is None:
                    num_open -= 1
                    if is_lost:
                        raise ReplicaLost("The replica died.")
                    continue
                yield said
        finally:
            self.num_closed += 1
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _speak(self, place: int, group: Group, queue: Any) -> None:
        call = group.calls[place]
        if call.adapter in self.waits:
            await self.waits[call.adapter].wait()
        try:
            if call.adapter in self.errors:
                raise self.errors[call.adapter]
            async with aclosing(self.generate(call)) as deltas:
                async for delta in deltas:
                    queue.put_nowait(MemberDelta(place, delta))
        except HeadraceError as error:
            queue.put_nowait(MemberDelta(place, error=error))
        queue.put_nowait(None)


@dataclass
class Stage:
    """An ensemble and the two engines behind it."""

    settings: EnsembleSettings
    small: Chorus
    large: Chorus | None
    answerer: Any
    trace: Trace = field(default_factory=lambda: Trace(QUERY))

    async def ask(self, choice_index: int = 0) -> str:
        """The text of the answer; raises what a client would see."""
        texts = [delta.text async for delta in self.deltas(choice_index)]
        return "".join(texts)

    async def deltas(self, choice_index: int = 0) -> AsyncIterator[Delta]:
        async with aclosing(self.answerer.answer(self.trace.query, self.trace, None, choice_index)) as deltas:
            async for delta in deltas:
                yield delta

    @property
    def outcomes(self) -> dict[str, str]:
        """Adapter, or model -> outcome of its last attempt."""
        return {one.adapter or one.model: one.outcome for one in self.trace.answer().attempts}

    @property
    def causes(self) -> list[str]:
        return [one.cause for one in self.trace.degradations]


def stage(
    answers: Mapping[str, str | FakeAnswer] | None = None,
    large: str | FakeAnswer | Chorus | None = "large says 7",
    members: tuple[Any, ...] = ("legal", "code", "medical"),
    query: Query = QUERY,
    policy: Any = None,
    guard: Any = None,
    when_failed: Any = None,
    router_routes: RoutesSettings | None = None,
    **settings: Any,
) -> Stage:
    """`members`: names, or whole settings. `answers`: adapter -> its answer."""
    described = tuple({"model": one} if isinstance(one, str) else one for one in members)
    found = EnsembleSettings(members=described, **settings)
    small = Chorus(dict(answers or {}), adapters=ADAPTERS, default="base says 5")
    engine = large if isinstance(large, Chorus) or large is None else Chorus(default=large)
    small_node = Node("specialists", "small", small, adapters=Configured(tuple(ADAPTERS)))
    large_node = Node("fallback", "large", engine) if engine else None
    more = {"when_failed": lambda: when_failed} if when_failed else {}
    model = LargeModel(large_node, guard, **more) if large_node else None
    answerer = ensemble_of(found, router_routes or RoutesSettings(), small_node, large_node, model, lambda: policy)
    return Stage(found, small, engine, answerer, Trace(query))


@pytest.fixture(name="stage")
def stage_fixture() -> Any:
    return stage
