"""What is known of a trial: totals that are added up, whatever order they come in.

Two kinds of pairs. A *compared answer* is one query of the canary that the live version answered too, in the
background: both scores are against the large model's answer. *Neighbours* are one conversation of the canary and one of
the live version that ended about the same time in the same gateway: both are what clients saw, under the same load, so
that errors, cost and latency may be compared. Scores are kept to a thousandth, ratios to a hundredth of a doubling.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

_PER_SCORE, _PER_DOUBLING = 1000, 100
_MAX_DOUBLINGS = 10

Counts = dict[int, int]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one query of one version ended."""

    failed: bool
    """An attempt with the adapter failed or was not finished in time, whatever was done about it."""
    cost_nusd: int | None = None
    """Of the whole query, in nano-dollars; None: it was not answered."""
    ms: float | None = None
    """From arrival to the end of the answer; None: it was not answered."""


class ArmTotals(BaseModel):
    """The queries of one version that have a neighbour."""

    model_config = ConfigDict(extra="forbid")

    num_queries: int = 0
    num_failed: int = 0
    """Included in `num_queries`."""
    num_answered: int = 0
    """Included in `num_queries`: those behind the next two."""
    cost_nusd: int = 0
    ms: float = 0.0

    def add(self, outcome: Outcome) -> None:
        """One query."""
        self.num_queries += 1
        self.num_failed += outcome.failed
        if outcome.cost_nusd is not None and outcome.ms is not None:
            self.num_answered += 1
            self.cost_nusd += outcome.cost_nusd
            self.ms += outcome.ms

    def merge(self, other: ArmTotals) -> None:
        """Another gateway's."""
        for name in type(self).model_fields:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class TrialEvidence(BaseModel):
    """Totals of one trial. They only grow."""

    model_config = ConfigDict(extra="forbid")

    quality: Counts = Field(default_factory=dict)
    """Score of the canary's answer minus that of the live version's, in thousandths -> compared answers."""
    agreement: Counts = Field(default_factory=dict)
    """Where there is no large model: how alike the two answers are, in thousandths -> compared answers."""
    errors: Counts = Field(default_factory=dict)
    """1: only the canary's neighbour failed, -1: only the live one's, 0: both or none -> neighbours."""
    cost: Counts = Field(default_factory=dict)
    """Cost of the canary's query over that of its neighbour, in hundredths of a doubling -> neighbours."""
    latency: Counts = Field(default_factory=dict)
    """The same of the time to the end of the answer."""
    canary: ArmTotals = Field(default_factory=ArmTotals)
    live: ArmTotals = Field(default_factory=ArmTotals)

    def add_scores(self, canary_score: float, live_score: float) -> None:
        """A compared answer."""
        _count(self.quality, round(canary_score * _PER_SCORE) - round(live_score * _PER_SCORE))

    def add_agreement(self, score: float) -> None:
        """Two answers compared with each other."""
        _count(self.agreement, round(score * _PER_SCORE))

    def add_neighbours(self, canary: Outcome, live: Outcome) -> None:
        """Two queries."""
        self.canary.add(canary)
        self.live.add(live)
        _count(self.errors, int(canary.failed) - int(live.failed))
        if canary.cost_nusd is not None and live.cost_nusd is not None:
            _count(self.cost, _doublings(canary.cost_nusd, live.cost_nusd))
        if canary.ms is not None and live.ms is not None:
            _count(self.latency, _doublings(canary.ms, live.ms))

    def merge(self, other: TrialEvidence) -> None:
        """Add another gateway's totals."""
        for name in ("quality", "agreement", "errors", "cost", "latency"):
            for value, number in getattr(other, name).items():
                _count(getattr(self, name), value, number)
        self.canary.merge(other.canary)
        self.live.merge(other.live)

    def differences(self) -> dict[float, int]:
        """`quality`, as scores."""
        return {value / _PER_SCORE: number for value, number in self.quality.items()}

    def mean_agreement(self) -> float | None:
        """From 0 to 1; None where nothing was compared so."""
        total = sum(self.agreement.values())
        return sum(value * number for value, number in self.agreement.items()) / _PER_SCORE / total if total else None


@dataclass(frozen=True, slots=True)
class EvidenceRecord:
    """All that one gateway has seen of one trial so far: it replaces what the gateway sent before."""

    gateway: str
    name: str
    canary: str
    live: str
    since_revision: int
    """Of the registry, when the gateway began to add up."""
    sequence: int
    """Rises with every change of the totals, so that a late one replaces nothing."""
    totals: Mapping[str, Any]
    """`TrialEvidence` as plain JSON."""


class EvidenceSink(Protocol):
    """Where evidence goes: the ledger's deployment."""

    def adapters_evidence(self, records: Sequence[EvidenceRecord]) -> Awaitable[None]:
        """Keep it; returns after commit. The same again changes nothing. Raises LedgerError."""
        ...


def relative_excess(ratios: Counts, factor: float) -> dict[float, int]:
    """(canary - factor x live) / (canary + factor x live) of each ratio, in [-1, 1] -> how often.

    Where the canary's figure is distributed as `factor` times the live version's, or below, its mean is at most 0.

    >>> {round(value, 3): number for value, number in relative_excess({0: 3, 100: 1}, 2.0).items()}
    {-0.333: 3, 0.0: 1}
    """
    half_log = math.log(factor) / 2
    return {math.tanh(value / _PER_DOUBLING * math.log(2) / 2 - half_log): number for value, number in ratios.items()}


def mean_ratio(ratios: Counts) -> float | None:
    """The geometric mean of the ratios; None for none."""
    total = sum(ratios.values())
    if not total:
        return None
    return float(2 ** (sum(value * number for value, number in ratios.items()) / _PER_DOUBLING / total))


def _doublings(canary: float, live: float) -> int:
    """The logarithm of the ratio, bounded; where both are nothing they are equal.

    >>> _doublings(3, 1.5), _doublings(0, 0), _doublings(5, 0)
    (100, 0, 1000)
    """
    if canary == live:
        return 0
    if canary <= 0 or live <= 0:
        doublings = float(_MAX_DOUBLINGS if canary > live else -_MAX_DOUBLINGS)
    else:
        doublings = math.log2(canary) - math.log2(live)  # the ratio itself may be too small for a float
    return round(max(-_MAX_DOUBLINGS, min(_MAX_DOUBLINGS, doublings)) * _PER_DOUBLING)


def _count(counts: Counts, value: int, number: int = 1) -> None:
    counts[value] = counts.get(value, 0) + number
