"""Quality against cost on queries that had no part in fitting: ours, the usual rules, chance and an oracle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtri

from serve_app.confidence.model import FloatArray
from serve_app.core import NANO_USD, DataError
from serve_app.training.cascade.budget_fit import Offers, offers
from serve_app.training.cascade.options import FitOptions
from serve_app.training.cascade.simulate import Prices, always_large_nusd, replay_policy
from serve_app.training.cascade.table import BoolArray, IntArray, Table

NUM_FOLDS = 5
BUDGETS = (0.12, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Mean prices of a query that are asked for, in parts of always-large."""
MEAN_PROBABILITY = 0.9


@dataclass(frozen=True)
class Point:
    """One way to run: arrays over the queries (num_rows,)."""

    quality: FloatArray
    """Score of the answer given."""
    cost: FloatArray
    """In parts of the mean always-large cost."""
    escalated: BoolArray


@dataclass(frozen=True)
class Choice:
    """Ways that were chosen without the test rows, fold by fold."""

    point: Point
    ways: tuple[str, ...]
    """`always small`, a budget, or `always large`."""


def outer_folds(table: Table, seed: int = 0) -> IntArray:
    """(num_rows,): every group spread evenly over the folds."""
    rng = np.random.default_rng(seed)
    folds = np.zeros(len(table), dtype=np.intp)
    for key in table.groups:
        rows = rng.permutation(np.flatnonzero(table.of_group(key)))
        folds[rows] = np.arange(len(rows)) % NUM_FOLDS
    return folds


def always(table: Table, prices: Prices, large: bool) -> Point:
    """One model for all."""
    unit = always_large_nusd(table, prices).mean()
    if large:
        cost = always_large_nusd(table, prices)
        return Point(table.large_right, cost / unit, np.ones(len(table), dtype=bool))
    return Point(table.small_right, small_nusd(table, prices) / unit, np.zeros(len(table), dtype=bool))


def small_nusd(table: Table, prices: Prices) -> FloatArray:
    """A whole small answer to each query (num_rows,)."""
    return table.small_prompt_tokens * prices.small_prompt + table.small_completion_tokens * prices.small_completion


def by_signal(table: Table, prices: Prices, signal: FloatArray, threshold: float) -> Point:
    """A whole draft for every query; escalate those with a signal under the threshold."""
    unit = always_large_nusd(table, prices)
    escalated = signal < threshold
    cost = small_nusd(table, prices) + np.where(escalated, unit, 0.0)
    return Point(np.where(escalated, table.large_right, table.small_right), cost / unit.mean(), escalated)


def oracle(table: Table, prices: Prices, share: float) -> Point:
    """Knows who is right: asks the large model at once, most gain for the money first, and no small one in vain."""
    unit = always_large_nusd(table, prices)
    gain = (table.large_right - table.small_right) / unit
    count = round(share * len(table))
    escalated = np.zeros(len(table), dtype=bool)
    escalated[np.argsort(-gain, kind="stable")[:count]] = True
    escalated &= table.large_right > table.small_right
    cost = np.where(escalated, unit, small_nusd(table, prices)) / unit.mean()
    return Point(np.where(escalated, table.large_right, table.small_right), cost, escalated)


def ours(table: Table, options: FitOptions, prices: Prices) -> dict[float, Point]:
    """Budget -> what the policy fitted for it on the other folds does with each fold."""
    folds = outer_folds(table)
    unit = always_large_nusd(table, prices)
    points = {budget: _blank(table) for budget in BUDGETS}
    for fold in range(NUM_FOLDS):
        test = folds == fold
        found = offers(table.take(~test), options, prices)
        for budget in list(points):
            if not _fill(points[budget], table, test, found, prices, budget, unit):
                del points[budget]
    return points


def _blank(table: Table) -> Point:
    return Point(np.zeros(len(table)), np.zeros(len(table)), np.zeros(len(table), dtype=bool))


def _fill(
    point: Point, table: Table, test: BoolArray, found: Offers, prices: Prices, budget: float, unit: FloatArray
) -> bool:
    """Write what the policy of a budget does with the test rows; False where the budget is below the cheapest way."""
    try:
        policy = found.policy(budget * float(unit[~test].mean()) / NANO_USD)
    except DataError:
        return False
    rest = table.take(test)
    seen = replay_policy(policy, rest)
    point.quality[test] = seen.quality(rest)
    point.cost[test] = seen.cost_nusd(rest, prices) / unit.mean()
    point.escalated[test] = ~seen.accepted
    return True


def cheapest_that_keeps(table: Table, options: FitOptions, prices: Prices, slack: float) -> Choice:
    """In each fold the cheapest way that, on the others, is surely at most `slack` worse than always-large.

    Candidates are accepting all, each budget (judged out of fold among the training rows), and always-large, which is
    left when no other will do. Surely: the lower 90 % bound of the paired difference (normal) is at least -slack.
    """
    folds = outer_folds(table)
    unit = always_large_nusd(table, prices)
    point = _blank(table)
    ways = []
    for fold in range(NUM_FOLDS):
        test = folds == fold
        train = table.take(~test)
        own = ours(train, options, prices)
        candidates: dict[float | None, Point] = {None: always(train, prices, large=False)}
        candidates.update(own.items())
        keeps = [
            (float(seen.cost.mean()), budget)
            for budget, seen in candidates.items()
            if lower_bound(seen.quality - train.large_right) >= -slack
        ]
        if not keeps:
            _fill_always(point, table, test, prices, large=True)
            ways.append("always large")
            continue
        _, budget = min(keeps, key=lambda found: found[0])
        if budget is None:
            _fill_always(point, table, test, prices, large=False)
            ways.append("always small")
        else:
            _fill(point, table, test, offers(train, options, prices), prices, budget, unit)
            ways.append(f"{budget:g}")
    return Choice(point, tuple(ways))


def lower_bound(gap: FloatArray) -> float:
    """The mean is at least this with probability .9, by the normal approximation."""
    return float(gap.mean() - ndtri(0.9) * gap.std(ddof=1) / np.sqrt(len(gap)))


def _fill_always(point: Point, table: Table, test: BoolArray, prices: Prices, large: bool) -> None:
    way = always(table, prices, large)
    for name in ("quality", "cost", "escalated"):
        getattr(point, name)[test] = getattr(way, name)[test]


def summary(point: Point, large: Point, rng: np.random.Generator, draws: int = 2000) -> dict[str, Any]:
    """Means with 95 % bootstrap intervals over queries; what is saved is a ratio, and both its halves are drawn."""
    rows = rng.integers(0, len(point.cost), size=(draws, len(point.cost)))
    quality, cost = point.quality[rows].mean(axis=1), point.cost[rows].mean(axis=1) / large.cost[rows].mean(axis=1)
    return {
        "quality": float(point.quality.mean()),
        "quality_95": _interval(quality),
        "cost": float(point.cost.mean()),
        "saved": float(1 - point.cost.mean()),
        "saved_95": _interval(1 - cost),
        "escalated": float(point.escalated.mean()),
    }


def at_cost(curve: Mapping[Any, Point] | list[Point], cost: float) -> FloatArray:
    """Each query's expected quality at a mean cost, by mixing the two neighbouring points of a curve (num_rows,)."""
    points = sorted(curve.values() if isinstance(curve, Mapping) else curve, key=lambda point: float(point.cost.mean()))
    costs = np.array([point.cost.mean() for point in points])
    right = int(np.searchsorted(costs, cost).clip(1, len(points) - 1))
    left_cost, right_cost = costs[right - 1], costs[right]
    share = 0.0 if right_cost == left_cost else float(np.clip((cost - left_cost) / (right_cost - left_cost), 0, 1))
    mixed: FloatArray = (1 - share) * points[right - 1].quality + share * points[right].quality
    return mixed


def difference(left: FloatArray, right: FloatArray, rng: np.random.Generator, draws: int = 2000) -> dict[str, Any]:
    """Mean of left - right over the same queries, with a paired bootstrap interval."""
    gap = left - right
    means = gap[rng.integers(0, len(gap), size=(draws, len(gap)))].mean(axis=1)
    return {"mean": float(gap.mean()), "interval_95": _interval(means)}


def _interval(values: FloatArray) -> list[float]:
    low, high = np.quantile(values, [0.025, 0.975])
    return [float(low), float(high)]
