"""Several whole answers, and the one of them that is given. Nothing is sent before that is known."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from serve_app.confidence import Decision
from serve_app.config import EnsembleSettings
from serve_app.core import DeadlineExceeded, Delta, EngineError, HeadraceError, ModelNotFound, Outcome, Query
from serve_app.patterns.ensemble.hearing import Hearing, Seat
from serve_app.patterns.ensemble.large import LargeModel
from serve_app.patterns.ensemble.members import Member, present
from serve_app.patterns.ensemble.strategy import Chosen, Strategy
from serve_app.patterns.failover import because
from serve_app.patterns.trace import Cause, Trace


class Choosing:
    """An `Answerer`: `vote`, `weighted_vote` and `best_of_n`. Several choices of a query are several ensembles."""

    def __init__(
        self, settings: EnsembleSettings, members: Sequence[Member], strategy: Strategy, large: LargeModel | None
    ) -> None:
        self._settings, self._members, self._strategy, self._large = settings, members, strategy, large

    async def answer(self, query: Query, trace: Trace, adapter: str | None, choice_index: int) -> AsyncGenerator[Delta]:
        """What the members' answers make; which adapter a router chose makes no difference.

        Raises what the members failed with where too few have answered and the large model may not be asked.
        """
        members = present(self._members, trace, choice_index)
        hearing = Hearing(members if len(members) >= self._settings.quorum else (), query, trace, choice_index)
        choice = _Choice(hearing, query, trace, choice_index)
        try:
            await self._hear(choice)
            async with aclosing(self._given(choice)) as deltas:
                async for delta in deltas:
                    yield delta
        finally:
            hearing.close()

    async def _hear(self, choice: _Choice) -> None:
        """Until all have answered, failed or are late, or until the rest cannot change the outcome."""
        waiting = {seat.member.place: seat.member for seat in choice.hearing.seats}
        answered: list[Seat] = []
        async with aclosing(choice.hearing.ends(self._settings.deadline_s)) as ends:
            async for seat in ends:
                del waiting[seat.member.place]
                if seat.has_answered:
                    answered.append(seat)
                enough = self._settings.early_stop and waiting and len(answered) >= self._settings.quorum
                if enough and self._strategy.is_decided(answered, tuple(waiting.values()), choice.trace):
                    break
        choice.note_failures()

    async def _given(self, choice: _Choice) -> AsyncGenerator[Delta]:
        answered = choice.answered
        if len(answered) < self._settings.quorum:
            source = self._without_quorum(choice)
        else:
            chosen = await self._strategy.choose(answered, choice.trace)
            source = self._decided(choice, chosen)
        async with aclosing(source) as deltas:
            async for delta in deltas:
                yield delta

    async def _decided(self, choice: _Choice, chosen: Chosen) -> AsyncGenerator[Delta]:
        """The chosen answer, or the large model's where the members agree too little."""
        bound, reason = self._settings.escalate_below, chosen.reason + choice.remark
        if bound is None or chosen.confidence >= bound:
            choice.trace.voted(Decision(True, chosen.confidence, reason))
            choice.settle(chosen.seat)
        else:
            reason = f"{reason}: below {bound:g}, the large model's answer is wanted"
            choice.trace.voted(Decision(False, chosen.confidence, reason))
            of_large = self._of_large(choice)
            if of_large is not None:
                choice.settle(of_large, others="escalated")
                chosen = Chosen(of_large, chosen.confidence, reason)
            else:
                is_given = False
                async with aclosing(self._escalated(choice)) as deltas:
                    async for delta in deltas:
                        is_given = True
                        yield delta
                if is_given:
                    return
                choice.settle(chosen.seat)
        for delta in chosen.seat.deltas:
            yield delta

    async def _escalated(self, choice: _Choice) -> AsyncGenerator[Delta]:
        """The large model's answer; nothing where it may not be asked or fails, and the vote's is given after all."""
        large, trace = self._large, choice.trace
        if large is None:
            return
        if (error := self._error_of_large(choice)) is not None:
            choice.settle(None, others="escalated")
            large.replaced(error, trace, choice.index)
            return
        if not await large.is_granted(trace, choice.index):
            return
        choice.settle(None, others="escalated")
        tried = large.tried(choice.query, trace, choice.index)
        async with aclosing(tried.deltas()) as deltas:
            async for delta in deltas:
                yield delta
        if tried.error is not None:
            large.replaced(tried.error, trace, choice.index)

    async def _without_quorum(self, choice: _Choice) -> AsyncGenerator[Delta]:
        """The large model's answer, or the error."""
        error = self._why_no_quorum(choice)
        large, of_large = self._large, self._of_large(choice)
        if large is not None and of_large is not None and large.may_step_in(error):
            choice.trace.degraded("small_failed", because("the ensemble", error), choice.index)
            choice.settle(of_large, others="escalated")
            for delta in of_large.deltas:
                yield delta
            return
        has_failed = self._error_of_large(choice) is not None
        if large is None or has_failed or not await large.steps_in(error, choice.trace, choice.index):
            choice.settle(None)
            raise error
        choice.settle(None, others="escalated")
        async with aclosing(large.answer(choice.query, choice.trace, choice.index)) as deltas:
            async for delta in deltas:
                yield delta

    def _of_large(self, choice: _Choice) -> Seat | None:
        """The large model's own answer where it is a member: the surest of them."""
        large = self._large
        found = [seat for seat in choice.answered if large is not None and large.is_asked(seat.member.node)]
        return max(found, key=lambda seat: seat.attempt.confidence or 0.0, default=None)

    def _error_of_large(self, choice: _Choice) -> HeadraceError | None:
        """Why the large model has no answer, where it is a member that failed: it is not asked once more."""
        large = self._large
        errors = (one.error for one in choice.hearing.seats if large is not None and large.is_asked(one.member.node))
        return next((error for error in errors if error is not None), None)

    def _why_no_quorum(self, choice: _Choice) -> HeadraceError:
        """The members' own error where none answered, since it may be the client's mistake, such as a long prompt."""
        num_answered, errors = len(choice.answered), choice.errors
        if errors and not num_answered and (choice.trace.is_late or not isinstance(errors[0], DeadlineExceeded)):
            return errors[0]
        return EngineError(
            f"{num_answered} of {len(self._members)} members of the ensemble answered, fewer than ensemble.quorum "
            f"{self._settings.quorum}; try again."
        )


@dataclass(frozen=True, slots=True)
class _Choice:
    """One choice of a query, and its members."""

    hearing: Hearing
    query: Query
    trace: Trace
    index: int

    @property
    def answered(self) -> list[Seat]:
        return [seat for seat in self.hearing.seats if seat.has_answered]

    @property
    def errors(self) -> list[HeadraceError]:
        return [seat.error for seat in self.hearing.seats if seat.error is not None]

    @property
    def remark(self) -> str:
        """What became of the members that have not answered."""
        num_failed = len(self.errors)
        num_stopped = len(self.hearing.seats) - len(self.answered) - num_failed
        parts = [
            f", {num_failed} failed" if num_failed else "",
            f", {num_stopped} not waited for" if num_stopped else "",
        ]
        return "".join(parts)

    def note_failures(self) -> None:
        for seat, error in self._failed():
            name = seat.member.adapter or seat.attempt.model
            cause: Cause = "adapter_gone" if isinstance(error, ModelNotFound) else "member_failed"
            self.trace.degraded(cause, because(f"member {name}", error), self.index)

    def _failed(self) -> Iterator[tuple[Seat, HeadraceError]]:
        return ((seat, seat.error) for seat in self.hearing.seats if seat.error is not None)

    def settle(self, given: Seat | None, others: Outcome = "counted") -> None:
        """Say what became of the whole answers; it may be said anew where a large answer does not come after all."""
        for seat in self.answered:
            seat.attempt.outcome = "accepted" if seat is given else others
