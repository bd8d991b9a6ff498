"""What answers on file make together: strategies, the best member, and intervals over requests. No engine, no model.

The count is the product's own (`serve_app.patterns.ensemble.vote`). Every choice is made on validation requests: which
member is the best, and below which share of the vote the large model is asked. Differences are over the same test
requests, with a paired bootstrap over them (Efron and Tibshirani 1993); how other training texts or seeds would have
turned out is not in the interval.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from serve_app.patterns.ensemble.vote import Ballot, Tally, tally

NUM_RESAMPLES = 2000
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Said:
    """One answer to one request."""

    answer: str | None
    """Normalised; None: nothing that could be compared."""
    confidence: float
    """Geometric mean of its tokens' probabilities."""
    right: bool
    cost_nusd: float
    prompt_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """One way to answer, over requests; arrays (num_requests,)."""

    right: FloatArray
    """1 or 0."""
    cost_nusd: FloatArray

    def record(self) -> dict[str, Any]:
        """Accuracy with its 95 % interval, and the mean cost."""
        return {
            "accuracy": float(self.right.mean()),
            "accuracy_95": interval(self.right),
            "usd_per_million_requests": float(self.cost_nusd.mean()) / 1e3,
        }


Rows = Sequence[Sequence[Said]]
"""For each request, what each member said."""


def best_member(validation: Rows) -> int:
    """Place of the member that is right most often; the first of equals.

    >>> yes, no = Said("a", 0.9, True, 1.0), Said("b", 0.9, False, 1.0)
    >>> best_member([[no, yes, yes], [yes, yes, no]])
    1
    """
    return int(np.argmax(_right(validation).mean(axis=0)))


def of_member(rows: Rows, place: int) -> Outcome:
    """One member alone."""
    return outcome([said[place] for said in rows])


def counted(said: Sequence[Said], weighted: bool = False) -> Tally:
    """The vote on one request, each answer counting as one or as its confidence."""
    return tally(
        [
            Ballot(place, one.answer, one.confidence, one.confidence if weighted else 1.0)
            for place, one in enumerate(said)
        ]
    )


def vote(rows: Rows, weighted: bool = False) -> Outcome:
    """Most equal answers. Every member is paid for."""
    return _together(rows, lambda said: counted(said, weighted).winner.place)


def best_of(rows: Rows) -> Outcome:
    """The surest answer. Every member is paid for."""
    return _together(rows, lambda said: min(range(len(said)), key=lambda place: (-said[place].confidence, place)))


def any_right(rows: Rows) -> float:
    """Share of the requests on which at least one member is right: what no choice among the answers can exceed."""
    return float(_right(rows).max(axis=1).mean())


def by_size(rows: Rows) -> dict[int, dict[str, float]]:
    """Number of members -> accuracy of vote and weighted vote, the mean over all sets of so many members."""
    num_members = len(rows[0])
    found = {}
    for size in range(1, num_members + 1):
        sets = list(itertools.combinations(range(num_members), size))
        parts = [[[said[place] for place in places] for said in rows] for places in sets]
        found[size] = {
            name: float(np.mean([vote(part, weighted).right.mean() for part in parts]))
            for name, weighted in (("vote", False), ("weighted_vote", True))
        }
    return found


def escalated(rows: Rows, large: Sequence[Said], below: float) -> tuple[Outcome, float]:
    """The vote, with the large model's answer in its place where its share is below; and how often that was."""
    tallies = [counted(said) for said in rows]
    asked = np.array([found.share < below for found in tallies])
    voted, alone = vote(rows), outcome(large)
    found = Outcome(np.where(asked, alone.right, voted.right), voted.cost_nusd + np.where(asked, alone.cost_nusd, 0.0))
    return found, float(asked.mean())


def thresholds(num_members: int) -> list[float]:
    """All that make a difference to an unweighted vote: 0 asks the large model never, the last on any disagreement."""
    return [0.0, *((votes + 0.5) / num_members for votes in range(1, num_members))]


def chosen_threshold(validation: Rows, large: Sequence[Said]) -> float:
    """The one with the most right answers on validation requests, of equals the lowest, which is the cheapest."""
    options = thresholds(len(validation[0]))
    return max(options, key=lambda below: (escalated(validation, large, below)[0].right.mean(), -below))


def gain(better: Outcome, other: Outcome) -> dict[str, Any]:
    """The paired difference in accuracy, its 95 % interval, and whether that lies above 0."""
    difference = better.right - other.right
    bounds = interval(difference)
    return {"mean": float(difference.mean()), "interval_95": bounds, "outside": bounds[0] > 0}


def interval(values: FloatArray) -> list[float]:
    """95 % percentile bootstrap of the mean, over requests; always the same draws for as many requests."""
    draws = np.random.default_rng(0).integers(0, len(values), (NUM_RESAMPLES, len(values)))
    return [float(bound) for bound in np.quantile(values[draws].mean(axis=1), [0.025, 0.975])]


def outcome(said: Sequence[Said]) -> Outcome:
    """One answer a request, as they are."""
    return Outcome(
        np.array([float(one.right) for one in said]), np.array([one.cost_nusd for one in said], dtype=np.float64)
    )


def _together(rows: Rows, choose: Callable[[Sequence[Said]], int]) -> Outcome:
    return Outcome(
        np.array([float(said[choose(said)].right) for said in rows]),
        np.array([sum(one.cost_nusd for one in said) for said in rows]),
    )


def _right(rows: Rows) -> FloatArray:
    return np.array([[float(one.right) for one in said] for said in rows])
