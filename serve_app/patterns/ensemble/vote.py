"""The vote: which answer wins, by how much, and from when on no further answer can change that. Pure.

Majority over sampled answers is self-consistency (Wang et al. 2022, arXiv:2203.11171); members that are different
models make it a classic ensemble. That their agreement tells when a larger model is needed is from mixture-of-thought
cascades (Yue et al. 2023, arXiv:2310.03094) and AutoMix (Aggarwal et al. 2023, arXiv:2310.12963).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ballot:
    """One answer's vote."""

    place: int
    """Of its member in the settings; no two are equal."""
    answer: str | None
    """Normalised; None abstains."""
    confidence: float
    """In [0, 1]; settles ties, and whose words are given."""
    weight: float = 1.0
    """Of the vote, above or equal to 0."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What the ballots say."""

    winner: Ballot
    """The surest of those that the winning answer has."""
    share: float
    """Of the winning answer in all votes cast, abstentions included; in [0, 1]. 0 where everybody abstained."""
    num_agreeing: int
    """Ballots of the winning answer."""
    num_ballots: int


@dataclass(frozen=True, slots=True)
class _Bloc:
    """Equal answers."""

    weight: float
    confidence: float
    ballots: tuple[Ballot, ...]

    @property
    def surest(self) -> Ballot:
        return min(self.ballots, key=lambda one: (-one.confidence, one.place))

    @property
    def rank(self) -> tuple[float, float, int]:
        """Smaller is better: weight, then summed confidence, then the place of the first member."""
        return -self.weight, -self.confidence, min(one.place for one in self.ballots)


def tally(ballots: Sequence[Ballot]) -> Tally:
    """Count. The order of the ballots makes no difference. There is at least one.

    Where everybody abstains nothing can be counted, and the surest answer is given.

    >>> found = tally([Ballot(0, "a", 0.5), Ballot(1, "b", 0.9), Ballot(2, "a", 0.7)])
    >>> found.winner.place, found.num_agreeing, round(found.share, 3)
    (2, 2, 0.667)
    """
    blocs = _blocs(ballots)
    if not blocs:
        return Tally(_bloc(ballots).surest, 0.0, 0, len(ballots))
    best = min(blocs, key=lambda bloc: bloc.rank)
    return Tally(best.surest, _share(best.weight, _total(ballots)), len(best.ballots), len(ballots))


def is_decided(
    ballots: Sequence[Ballot], weight_left: float, escalate_below: float | None = None, large_is_left: bool = False
) -> bool:
    """Whether ballots that weigh at most `weight_left` together can change nothing any more.

    That is: neither which answer wins nor, with `escalate_below`, on which side of it the winner's share lies. Where no
    answer can reach that share any more, it does not matter which one wins: the large model's answer is wanted. While
    that is still to come (`large_is_left`), nothing is decided then, lest it is asked twice.

    >>> is_decided([Ballot(0, "a", 0.5), Ballot(1, "a", 0.5)], weight_left=1.0)
    True
    >>> is_decided([Ballot(0, "a", 0.5), Ballot(1, "a", 0.5)], weight_left=1.0, escalate_below=0.7)
    False
    """
    weights = sorted((bloc.weight for bloc in _blocs(ballots)), reverse=True)
    if not weights:
        return False
    first, second, total = weights[0], weights[1] if len(weights) > 1 else 0.0, _total(ballots)
    if escalate_below is not None and _share(first + weight_left, total + weight_left) < escalate_below:
        return not large_is_left
    if first <= second + weight_left:
        return False
    return escalate_below is None or _share(first, total + weight_left) >= escalate_below


def _blocs(ballots: Iterable[Ballot]) -> list[_Bloc]:
    by_answer: dict[str, list[Ballot]] = {}
    for ballot in ballots:
        if ballot.answer is not None:
            by_answer.setdefault(ballot.answer, []).append(ballot)
    return [_bloc(found) for found in by_answer.values()]


def _bloc(ballots: Sequence[Ballot]) -> _Bloc:
    confidence = math.fsum(one.confidence for one in ballots)  # exact, so that no order of ballots breaks a tie
    return _Bloc(_total(ballots), confidence, tuple(ballots))


def _total(ballots: Iterable[Ballot]) -> float:
    return math.fsum(one.weight for one in ballots)


def _share(weight: float, total: float) -> float:
    return weight / total if total > 0 else 0.0
