"""All members of one choice, asked at once: those on one node in one group, the groups side by side.

A member whose replica is lost is asked again, as `Node.retries` allows: nothing of it was sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import cast

from serve_app.core import (
    DeadlineExceeded,
    Delta,
    EngineError,
    Group,
    GroupEngine,
    HeadraceError,
    MemberDelta,
    Query,
    ReplicaLost,
    TokenStat,
)
from serve_app.patterns.answerers import Node
from serve_app.patterns.ensemble.members import Member
from serve_app.patterns.ensemble.vote import Ballot
from serve_app.patterns.patience import ANY_TIME
from serve_app.patterns.trace import OpenAttempt, Trace


@dataclass(slots=True)
class Seat:
    """One member, and what it has said so far."""

    member: Member
    attempt: OpenAttempt
    deltas: list[Delta] = field(default_factory=list)
    error: HeadraceError | None = None
    """Why it has no answer."""
    ballot: Ballot | None = None
    """Set by the vote when its answer is counted for the first time."""

    @property
    def has_ended(self) -> bool:
        """Whether nothing more is to come."""
        return self.error is not None or self.attempt.finished

    @property
    def has_answered(self) -> bool:
        """Whether its answer is whole."""
        return self.error is None and self.attempt.finished

    @property
    def text(self) -> str:
        """Of the answer."""
        return "".join(delta.text for delta in self.deltas)

    @property
    def tokens(self) -> tuple[TokenStat, ...]:
        """Of the answer."""
        return tuple(token for delta in self.deltas for token in delta.tokens)

    def take(self, said: MemberDelta) -> None:
        """Note a delta, or that there is an error."""
        try:
            if said.delta is not None:
                self.deltas.append(said.delta)
                self.attempt.heard(said.delta)
            elif said.error is not None:
                self.fail(said.error)
        except HeadraceError as error:  # another version than was asked for
            self.fail(error)

    def fail(self, error: HeadraceError) -> None:
        """It has no answer."""
        self.error = error
        self.attempt.broke(error)

    def again(self, attempt: OpenAttempt) -> None:
        """It is asked once more, from the start."""
        self.attempt.close()
        self.attempt, self.error = attempt, None
        self.deltas.clear()


class Hearing:
    """Iterate `ends()` to its end or close it, then call `close()`. `seats` has every member, in order."""

    def __init__(self, members: Sequence[Member], query: Query, trace: Trace, choice_index: int) -> None:
        self._query, self._trace, self._choice_index = query, trace, choice_index
        self.seats = [Seat(member, member.open(query, trace, choice_index)) for member in members]
        self._ended: asyncio.Queue[Seat | Exception] = asyncio.Queue()

    async def ends(self, within_s: float | None) -> AsyncGenerator[Seat]:
        """Each member as soon as it has answered or failed; after `within_s` seconds nobody any more.

        Closing this ends the calls that are still open.
        """
        by_node: dict[str, list[Seat]] = {}
        for seat in self.seats:
            by_node.setdefault(seat.member.node.name, []).append(seat)
        tasks = [asyncio.create_task(self._ask(seats[0].member.node, seats)) for seats in by_node.values()]
        ends_s = None if within_s is None else asyncio.get_running_loop().time() + within_s
        is_late = False
        try:
            for _ in self.seats:
                try:
                    async with asyncio.timeout_at(ends_s) as bound:
                        ended = await self._ended.get()
                except TimeoutError:
                    if not bound.expired():
                        raise
                    is_late = True
                    return
                if isinstance(ended, Exception):
                    raise ended
                yield ended
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for seat in self.seats if is_late else ():
                if not seat.has_ended:
                    seat.fail(DeadlineExceeded(f"It did not answer within {within_s:g} s (ensemble.deadline_s)."))

    def close(self) -> None:
        """Nothing is asked any more: those that nobody settled are cancelled."""
        for seat in self.seats:
            seat.attempt.close()

    async def _ask(self, node: Node, seats: list[Seat]) -> None:
        """Until every seat has ended; an error that is none of an engine's ends the hearing."""
        try:
            for num_left in reversed(range(node.retries + 1)):
                await self._listen(node, seats)
                seats = [seat for seat in seats if isinstance(seat.error, ReplicaLost)]
                if not seats or not num_left or self._trace.is_late:
                    break
                self._trace.retried.append(node.name)
                for seat in seats:
                    seat.again(seat.member.open(self._query, self._trace, self._choice_index))
            for seat in seats:
                self._ended.put_nowait(seat)
        except asyncio.CancelledError:  # it may be the engine's own, as of one that stops: nobody must wait then
            self._ended.put_nowait(EngineError(f"{node.name} broke off its answers; try again."))
            raise
        except Exception as error:
            for seat in seats:
                if not seat.has_ended:
                    seat.attempt.broke(error)
            self._ended.put_nowait(error)

    async def _listen(self, node: Node, seats: Sequence[Seat]) -> None:
        """One group, from its start to its end or its error. Tells of every end but that of a lost replica."""
        error: HeadraceError = ReplicaLost(f"The engine of {node.name} broke off its answer; try again.")
        open_seats = dict(enumerate(seats))
        try:
            async with aclosing(said_by(node, [seat.attempt for seat in seats])) as group:
                async for said in group:
                    seat = open_seats.get(said.member)
                    if seat is None:
                        continue
                    seat.take(said)
                    if seat.has_ended:
                        del open_seats[said.member]
                        self._tell(seat)
        except HeadraceError as broken:
            error = broken
        for seat in open_seats.values():
            seat.fail(error)
            self._tell(seat)

    def _tell(self, seat: Seat) -> None:
        if not isinstance(seat.error, ReplicaLost):
            self._ended.put_nowait(seat)


def said_by(
    node: Node, attempts: Sequence[OpenAttempt], weights: tuple[float, ...] = (), lock_step: bool = False
) -> AsyncGenerator[MemberDelta]:
    """What a node's engine says of these attempts' calls as one group. Raises what its `generate_group` raises."""
    calls = tuple(attempt.call for attempt in attempts)
    patience = ANY_TIME if calls[0].priority < 0 else node.patience
    engine = cast(GroupEngine, node.engine)
    return patience.watched(engine.generate_group(Group(calls, lock_step, weights)), node.name)
