"""Budget mode of the fit: the best quality at a given mean price of a query, with no promise about risk."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from serve_app.confidence.budget import OperatingPoint, best_for_budget
from serve_app.confidence.policy import CascadePolicy, RoutePolicy
from serve_app.core import NANO_USD, DataError
from serve_app.training.cascade.fit import Fit, acceptable, assemble, learn
from serve_app.training.cascade.options import FitOptions
from serve_app.training.cascade.references import with_references
from serve_app.training.cascade.scores import confidence_of
from serve_app.training.cascade.sequence import every_threshold, stricter_thresholds
from serve_app.training.cascade.simulate import Prices, replay_policy
from serve_app.training.cascade.split import threshold_part
from serve_app.training.cascade.table import BoolArray, Key, Table

_MOST_POINTS = 100
"""Thresholds tried in a route."""


@dataclass(frozen=True)
class Offers:
    """Models and operating points of all routes: what is left to choose is the budget."""

    drafts: list[RoutePolicy]
    table: Table
    """Ordered by id."""
    part: BoolArray
    """(num_rows,), of the ordered rows: those that thresholds are set on."""
    points: dict[Key, list[OperatingPoint]]
    options: FitOptions

    def policy(self, budget_usd: float) -> CascadePolicy:
        """The best thresholds for a mean price of a query. Raises DataError where none are so cheap."""
        num_rows = int(self.part.sum())
        chosen = best_for_budget(self.points, budget_usd * NANO_USD * num_rows)
        if chosen is None:
            least = sum(min(point.cost for point in points) for points in self.points.values()) / num_rows
            least_usd = math.ceil(least) / NANO_USD
            raise DataError(
                f"No thresholds stay under {budget_usd:g} dollars a query; the cheapest take {least_usd:g}."
            )
        right = acceptable(self.table, self.options.target, self.options.right_from)
        routes = []
        for draft in self.drafts:
            rows = self.part & self.table.of_group(_key(draft))
            routes.append(_with_point(draft, self.table.take(rows), right[rows], self.options, chosen[_key(draft)]))
        return assemble(self.table, routes, self.options, budget_usd)


def offers(table: Table, options: FitOptions, prices: Prices) -> Offers:
    """Learn the models and try thresholds. Raises DataError where rows lack the large model's score."""
    if np.isnan(table.large_right).any():
        raise DataError("A budget weighs the large model's answers against its price, so each row needs large_right.")
    drafts, ordered, part = learn(table, options)
    points = {
        _key(draft): _offer(draft, ordered.take(part & ordered.of_group(_key(draft))), options, prices)
        for draft in drafts
    }
    return Offers(drafts, ordered, part, points, options)


def fit_budget(table: Table, options: FitOptions, prices: Prices, budget_usd: float) -> Fit:
    """As `fit_table`, with thresholds from the budget; `alpha` and `delta` of the options only steer early decisions.

    Raises DataError where rows lack the large model's score, or where the budget is below the cheapest operation.
    """
    policy = offers(table, options, prices).policy(budget_usd)
    return Fit(policy, threshold_part(table, options.model_share, options.seed))


def _key(draft: RoutePolicy) -> Key:
    return draft.route, draft.adapter_version


def _offer(draft: RoutePolicy, table: Table, options: FitOptions, prices: Prices) -> list[OperatingPoint]:
    """What each threshold gives and takes on the rows of one route, escalating all included."""
    confidence = confidence_of(draft, table, options.skip_small_above, options.keep_small_below)
    limits = every_threshold(confidence)
    picked = np.unique(np.linspace(0, len(limits) - 1, min(len(limits), _MOST_POINTS)).round().astype(int))
    policy = assemble(table, [draft], options)
    found = []
    for threshold in (*limits[picked].tolist(), None):
        seen = replay_policy(policy, table, threshold)  # a draft has no threshold of its own: None escalates all
        quality, cost = seen.quality(table).sum(), seen.cost_nusd(table, prices).sum()
        found.append(OperatingPoint(threshold, float(quality), float(cost)))
    return found


def _with_point(
    draft: RoutePolicy, table: Table, right: BoolArray, options: FitOptions, point: OperatingPoint
) -> RoutePolicy:
    changes: dict[str, object] = {"alpha": None, "delta": None, "num_labels": len(table), "threshold": point.threshold}
    if point.threshold is not None:
        confidence = confidence_of(draft, table, options.skip_small_above, options.keep_small_below)
        accepted = confidence > point.threshold
        changes["thresholds"] = stricter_thresholds(confidence, point.threshold)
        changes["accepted_share"] = float(accepted.mean()) if len(table) else 0.0
        changes["observed_risk"] = float((~right[accepted]).mean()) if accepted.any() else None
    return with_references(RoutePolicy(**{**dict(draft), **changes}), table, options)
