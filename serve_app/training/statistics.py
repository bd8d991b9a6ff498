"""Held-out scores of one adapter beside its base: aggregates and paired bootstrap intervals. NumPy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from serve_app.training.scores import BALANCED

_NUM_RESAMPLES = 2000
_ALL, _UNGROUPED = "all", "ungrouped"
_Weights = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RowScore:
    """One row under one metric."""

    row: int
    """Index in the evaluation file."""
    group: str
    metric: str
    value: float
    """A score in [0, 1]; for `loss` the summed nats of the completion; for `choice` 1 when the pick is right."""
    weight: float = 1.0
    """For `loss` the number of completion tokens."""
    label: str = ""
    """For `choice` and `verdict` the right answer: every label counts the same (balanced accuracy)."""
    answer: str = ""
    """What was generated or picked."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A group's metric before and after training, on the same rows."""

    group: str
    metric: str
    num_rows: int
    before: float
    after: float
    low: float
    """Of after - before: 2.5 % point of the paired bootstrap over rows."""
    high: float
    """97.5 % point."""

    @property
    def better(self) -> bool:
        """Whether the change is for the better and zero lies outside the interval."""
        return self.high < 0 if self.metric == "loss" else self.low > 0


def aggregate(scores: Sequence[RowScore]) -> float:
    """One figure for a group: mean score, nats a token, or balanced accuracy."""
    return float(_aggregate(scores, np.ones((1, len(scores))))[0])


def compare(before: Sequence[RowScore], after: Sequence[RowScore], seed: int = 0) -> list[Comparison]:
    """Every group and metric, in file order; where a metric has several groups, `all` over them comes last.

    Rows that name no group, and so are of `all`, are then called `ungrouped`.
    """
    if [(one.row, one.metric) for one in before] != [(one.row, one.metric) for one in after]:
        raise ValueError("before and after must score the same rows in the same order")
    groups: dict[str, set[str]] = {}
    for score in before:
        groups.setdefault(score.metric, set()).add(score.group)
    found: dict[tuple[str, str], list[int]] = {}
    for index, score in enumerate(before):
        alone = score.group != _ALL or len(groups[score.metric]) == 1
        found.setdefault((score.group if alone else _UNGROUPED, score.metric), []).append(index)
    for metric, of_metric in groups.items():
        if len(of_metric) > 1:
            found[_ALL, metric] = [index for index, score in enumerate(before) if score.metric == metric]
    return [
        _compare_one(key, [before[index] for index in places], [after[index] for index in places], seed)
        for key, places in found.items()
    ]


def _compare_one(key: tuple[str, str], before: Sequence[RowScore], after: Sequence[RowScore], seed: int) -> Comparison:
    rng = np.random.default_rng(seed)
    num_rows = len(before)
    counts = rng.multinomial(num_rows, np.full(num_rows, 1 / num_rows), size=_NUM_RESAMPLES).astype(np.float64)
    differences = _aggregate(after, counts) - _aggregate(before, counts)
    low, high = np.nanquantile(differences, [0.025, 0.975])
    return Comparison(key[0], key[1], num_rows, aggregate(before), aggregate(after), float(low), float(high))


def _aggregate(scores: Sequence[RowScore], counts: _Weights) -> _Weights:
    """The figure of every resample; `counts` is (num_resamples, num_rows), how often each row was drawn."""
    values = np.array([score.value for score in scores])
    if scores[0].metric not in BALANCED:
        weights = np.array([score.weight for score in scores])
        return np.asarray((counts @ values) / (counts @ weights))
    recalls = []
    for label in sorted({score.label for score in scores}):
        of_label = np.array([float(score.label == label) for score in scores])
        with np.errstate(invalid="ignore"):  # a resample without the label has no recall for it
            recalls.append((counts @ (values * of_label)) / (counts @ of_label))
    return np.asarray(np.nanmean(np.stack(recalls), axis=0))
