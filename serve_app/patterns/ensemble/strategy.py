"""How whole answers become one: by vote, or by taking the best."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from serve_app.patterns.answerers import Node
from serve_app.patterns.ensemble.hearing import Seat
from serve_app.patterns.ensemble.members import Member
from serve_app.patterns.ensemble.sureness import Scorer, Sureness, scored
from serve_app.patterns.ensemble.vote import Ballot, is_decided, tally
from serve_app.patterns.trace import Trace

Normalise = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Chosen:
    """One answer of several."""

    seat: Seat
    confidence: float
    """In [0, 1]: its share of the vote, or how good it is."""
    reason: str
    """In words."""


class Strategy(Protocol):
    """Chooses among answers that are whole. Notes at each attempt how sure its answer is."""

    def is_decided(self, answered: Sequence[Seat], waiting: Sequence[Member], trace: Trace) -> bool:
        """Whether those that have not answered cannot change what `choose` says."""
        ...

    async def choose(self, answered: Sequence[Seat], trace: Trace) -> Chosen:
        """The answer to give; `answered` has one at least."""
        ...


class Vote:
    """Most equal answers, each counting as one or, `weighted`, as its member's weight times its confidence.

    Majority over samples is self-consistency (Wang et al. 2022, arXiv:2203.11171).
    """

    def __init__(
        self,
        normalise: Normalise,
        sureness: Sureness,
        weighted: bool,
        escalate_below: float | None = None,
        is_large: Callable[[Node], bool] = lambda node: False,
    ) -> None:
        """`is_large`: whether a node is the one that is asked below `escalate_below`."""
        self._is_large, self._normalise, self._sureness = is_large, normalise, sureness
        self._weighted, self._escalate_below = weighted, escalate_below

    def is_decided(self, answered: Sequence[Seat], waiting: Sequence[Member], trace: Trace) -> bool:
        """See `Strategy`."""
        weight_left = sum(member.weight if self._weighted else 1.0 for member in waiting)
        large_is_left = any(self._is_large(member.node) for member in waiting)
        return is_decided(self._ballots(answered, trace), weight_left, self._escalate_below, large_is_left)

    async def choose(self, answered: Sequence[Seat], trace: Trace) -> Chosen:
        """See `Strategy`."""
        found = tally(self._ballots(answered, trace))
        seat = next(one for one in answered if one.member.place == found.winner.place)
        name = "weighted vote" if self._weighted else "vote"
        said = f"{found.num_agreeing} of {found.num_ballots} answers agree, share {found.share:.3f}"
        if not found.num_agreeing:
            said = f"none of {found.num_ballots} answers can be compared, the surest is taken"
        return Chosen(seat, found.share, f"{name}: {said}")

    def _ballots(self, answered: Sequence[Seat], trace: Trace) -> list[Ballot]:
        return [seat.ballot or self._cast(seat, trace) for seat in answered]

    def _cast(self, seat: Seat, trace: Trace) -> Ballot:
        confidence = seat.attempt.confidence = self._sureness.of(seat, trace)
        weight = seat.member.weight * confidence if self._weighted else 1.0
        seat.ballot = Ballot(seat.member.place, self._normalise(seat.text), confidence, weight)
        return seat.ballot


class BestOf:
    """The best answer by a scorer, or else the one that is most likely right (best-of-n).

    The acceptance model sees, as `sample_agreement`, what share of the other answers are equal. Weighted votes do not
    show it: they count agreement themselves.
    """

    def __init__(self, normalise: Normalise, sureness: Sureness, scorer: Scorer | None = None) -> None:
        self._normalise, self._sureness, self._scorer = normalise, sureness, scorer

    def is_decided(self, answered: Sequence[Seat], waiting: Sequence[Member], trace: Trace) -> bool:
        """See `Strategy`. Any answer may be better still."""
        return False

    async def choose(self, answered: Sequence[Seat], trace: Trace) -> Chosen:
        """See `Strategy`. An answer that the scorer fails on counts as the worst."""
        if self._scorer is None:
            found: Sequence[float | None] = self._likely_right(answered, trace)
        else:
            found = await asyncio.gather(*(scored(self._scorer, seat, trace.query) for seat in answered))
            if None in found:
                trace.degraded("member_failed", "ensemble.scorer failed on an answer")
        for seat, score in zip(answered, found, strict=True):
            seat.attempt.confidence = score or 0.0
        best = min(answered, key=lambda seat: (-(seat.attempt.confidence or 0.0), seat.member.place))
        confidence = best.attempt.confidence or 0.0
        return Chosen(best, confidence, f"best of {len(answered)}: {confidence:.3f}")

    def _likely_right(self, answered: Sequence[Seat], trace: Trace) -> list[float]:
        texts = [self._normalise(seat.text) for seat in answered]
        found = []
        for seat, text in zip(answered, texts, strict=True):
            others = len(answered) - 1
            equal = texts.count(text) - 1 if text is not None else 0
            found.append(self._sureness.of(seat, trace, equal / others if others else None))
        return found
