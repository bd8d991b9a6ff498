"""Groups of calls: what holds for every engine, and members in parallel for engines that know no groups."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import cast

from serve_app.core import (
    Call,
    Delta,
    Engine,
    EngineInfo,
    Group,
    GroupEngine,
    HeadraceError,
    MemberDelta,
    RequestError,
)
from serve_app.streams import merged


def check_group(group: Group) -> None:
    """Raise RequestError for a group that no engine can answer."""
    if not group.calls:
        raise RequestError("the group has no calls; ask for at least one member")
    if group.weights and len(group.weights) != len(group.calls):
        raise RequestError(
            f"weights has {len(group.weights)} numbers for {len(group.calls)} members; give one each, or none"
        )
    if wrong := [weight for weight in group.weights if not 0 < weight < math.inf]:
        raise RequestError(f"weights must be positive and finite, not {wrong[0]}; leave a member out in place of that")


async def side_by_side(engine: Engine, group: Group) -> AsyncGenerator[MemberDelta]:
    """See GroupEngine.generate_group: the members as calls of their own, in parallel, whatever the engine is.

    Closing closes them all. Raises RequestError for a group in lock step.
    """
    check_group(group)
    if group.lock_step:
        raise RequestError(
            "this engine cannot answer in lock step, which takes all members' distributions at every token; "
            "set `engine: local` for the node, or a strategy that votes"
        )
    answers = (_answer(engine, member, call) for member, call in enumerate(group.calls))
    async with aclosing(merged(answers)) as bundles:
        async for bundle in bundles:
            for one in bundle:
                yield one


async def _answer(engine: Engine, member: int, call: Call) -> AsyncGenerator[MemberDelta]:
    try:
        async with aclosing(cast(AsyncGenerator[Delta], engine.generate(call))) as deltas:
            async for delta in deltas:
                yield MemberDelta(member, delta)
    except HeadraceError as error:
        yield MemberDelta(member, error=error)


class _SideBySide:
    """A GroupEngine over an engine that knows no groups."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def generate(self, call: Call) -> AsyncIterator[Delta]:
        """See Engine."""
        return self._engine.generate(call)

    def generate_group(self, group: Group) -> AsyncIterator[MemberDelta]:
        """See `side_by_side`."""
        return side_by_side(self._engine, group)

    async def info(self) -> EngineInfo:
        """See Engine."""
        return await self._engine.info()


def as_group_engine(engine: Engine) -> GroupEngine:
    """The engine itself where it knows groups; else it answers members side by side."""
    return engine if isinstance(engine, GroupEngine) else _SideBySide(engine)


async def part_of_group(engine: GroupEngine, group: Group, members: tuple[int, ...]) -> AsyncGenerator[MemberDelta]:
    """The answers of these members alone, under their places in the whole group; none where there are none."""
    if not members:
        return
    part = replace(
        group,
        calls=tuple(group.calls[member] for member in members),
        weights=tuple(group.weights[member] for member in members if group.weights),
    )
    async with aclosing(cast(AsyncGenerator[MemberDelta], engine.generate_group(part))) as deltas:
        async for delta in deltas:
            yield replace(delta, member=members[delta.member])
