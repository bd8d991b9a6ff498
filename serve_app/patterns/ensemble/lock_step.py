"""One answer that several members write together, streamed token by token.

Each token is drawn from the weighted mean of the members' log-probabilities: the logarithmic opinion pool, a product of
experts (Hinton 2002; DExperts, Liu et al. 2021, arXiv:2105.03023). A member that finds a token impossible forbids it.
The engine does it, and says why (`engine.sampler`).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from serve_app.confidence import Decision
from serve_app.confidence.signals import mean_probability
from serve_app.core import Delta, EngineError, HeadraceError, Query, ReplicaLost, TokenStat
from serve_app.patterns.ensemble.hearing import said_by
from serve_app.patterns.ensemble.large import LargeModel
from serve_app.patterns.ensemble.members import Member, present
from serve_app.patterns.ensemble.mixture import Mixture
from serve_app.patterns.failover import Tried, from_start
from serve_app.patterns.trace import OpenAttempt, Trace


class LockStep:
    """An `Answerer`: `average` and `soft_routing`. All members are on the small base, and fail together."""

    def __init__(self, mixture: Mixture, quorum: int, large: LargeModel | None) -> None:
        self._mixture, self._quorum, self._large = mixture, quorum, large

    async def answer(self, query: Query, trace: Trace, adapter: str | None, choice_index: int) -> AsyncGenerator[Delta]:
        """The members' common answer; which adapter a router chose makes no difference.

        Where it fails before anything was sent, the large model answers if the cascade's settings say so.
        """
        wanted = self._mixture.members(trace.route)
        members = present(wanted, trace, choice_index)
        if len(members) >= self._quorum:
            node = members[0].node

            def begin() -> AsyncGenerator[Delta]:
                return self._together(members, query, trace, choice_index)

            tried = Tried(from_start(begin, node.name, node.retries, trace))
            async with aclosing(tried.deltas()) as deltas:
                async for delta in deltas:
                    yield delta
            error = tried.error
        else:
            error = _too_few(members, wanted, self._quorum)
        if error is None:
            return
        if self._large is None or not await self._large.steps_in(error, trace, choice_index):
            raise error
        async with aclosing(self._large.answer(query, trace, choice_index)) as deltas:
            async for delta in deltas:
                yield delta

    async def _together(
        self, members: Sequence[Member], query: Query, trace: Trace, choice_index: int
    ) -> AsyncGenerator[Delta]:
        """One try. The first member's words are passed on; the last when all have ended, so that all are billed."""
        attempts = [member.open(query, trace, choice_index) for member in members]
        whole = sum(member.weight for member in members)
        weights = tuple(member.weight / whole for member in members)
        tokens: list[TokenStat] = []
        last: Delta | None = None
        try:
            async with aclosing(said_by(members[0].node, attempts, weights, lock_step=True)) as group:
                async for said in group:
                    if said.error is not None:
                        raise said.error
                    assert said.delta is not None
                    attempts[said.member].heard(said.delta)
                    if said.member == 0:
                        tokens.extend(said.delta.tokens)
                        if attempts[0].finished:
                            last = said.delta
                        else:
                            yield said.delta
            if last is None:
                raise ReplicaLost(f"The engine of {members[0].node.name} broke off its answer; try again.")
            self._settle(attempts, tokens, trace)
            yield last
        except Exception as error:
            for attempt in attempts:
                attempt.broke(error)
            raise
        finally:
            for attempt in attempts:
                attempt.close()

    def _settle(self, attempts: Sequence[OpenAttempt], tokens: Sequence[TokenStat], trace: Trace) -> None:
        for index, attempt in enumerate(attempts):
            attempt.settle("counted" if index else "accepted")
        confidence = attempts[0].confidence = mean_probability(tokens)
        reason = f"{self._mixture.name} of {len(attempts)} members: mean probability {confidence:.3f}"
        trace.voted(Decision(True, confidence, reason))


def _too_few(members: Sequence[Member], wanted: Sequence[Member], quorum: int) -> HeadraceError:
    return EngineError(
        f"{len(members)} of {len(wanted)} members of the ensemble are served now, fewer than ensemble.quorum {quorum}; "
        f"try again."
    )
