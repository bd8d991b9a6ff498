"""Budget mode of the fit: the best quality at a given mean price of a query, with no promise about risk."""

from __future__ import annotations

import math

import numpy as np

from serve_app.confidence.budget import OperatingPoint, best_for_budget
from serve_app.confidence.policy import RoutePolicy
from serve_app.core import NANO_USD, DataError
from serve_app.training.cascade.fit import Fit, acceptable, assemble, learn
from serve_app.training.cascade.options import FitOptions
from serve_app.training.cascade.references import with_references
from serve_app.training.cascade.references import with_references
from serve_app.training.cascade.scores import confidence_of
from serve_app.training.cascade.sequence import every_threshold, stricter_thresholds
from serve_app.training.cascade.simulate import Prices, replay_policy
from serve_app.training.cascade.split import threshold_part
from serve_app.training.cascade.table import BoolArray, Key, Table

_MOST_POINTS = 100
"""Thresholds tried in a route."""


def fit_budget(table: Table, options: FitOptions, prices: Prices, budget_usd: float) -> Fit:
    """As `fit_table`, with thresholds from the budget; `alpha` and `delta` of the options only steer early decisions.

    Raises DataError where rows lack the large model's score, or where the budget is below the cheapest operation.
    """
    if np.isnan(table.large_right).any():
        raise DataError("A budget weighs the large model's answers against its price, so each row needs large_right.")
    drafts, ordered, part = learn(table, options)
    rows_of = {_key(draft): part & ordered.of_group(_key(draft)) for draft in drafts}
    cuts = {key: ordered.take(rows) for key, rows in rows_of.items()}
    offers = {_key(draft): _offer(draft, cuts[_key(draft)], options, prices) for draft in drafts}
    chosen = best_for_budget(offers, budget_usd * NANO_USD * int(part.sum()))
    if chosen is None:
        least = sum(min(point.cost for point in points) for points in offers.values()) / int(part.sum())
        least_usd = math.ceil(least) / NANO_USD
        raise DataError(f"No thresholds stay under {budget_usd:g} dollars a query; the cheapest take {least_usd:g}.")
    right = acceptable(ordered, options.target, options.right_from)
    routes = [
        _with_point(draft, cuts[key], right[rows_of[key]], options, chosen[key])
        for draft, key in zip(drafts, map(_key, drafts), strict=True)
    ]
    return Fit(assemble(ordered, routes, options, budget_usd), threshold_part(table, options.model_share, options.seed))


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
    return with_references(RoutePolicy(**{**dict(draft), **changes}), table)
