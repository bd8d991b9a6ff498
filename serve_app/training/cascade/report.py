"""What `headrace cascade fit` and `evaluate` say: how good the model of a route is, who is accepted, at what risk."""

from __future__ import annotations

from typing import Any

import numpy as np

from serve_app.confidence.metrics import auroc, bootstrap, brier, expected_calibration_error, risk_coverage
from serve_app.confidence.model import FloatArray
from serve_app.confidence.policy import CascadePolicy, RoutePolicy
from serve_app.confidence.risk import clopper_pearson_lower, clopper_pearson_upper
from serve_app.core import NANO_USD
from serve_app.training.cascade.fit import acceptable
from serve_app.training.cascade.scores import confidence_of, probabilities_of
from serve_app.training.cascade.simulate import Prices, Replay, always_large_nusd, replay_policy
from serve_app.training.cascade.table import BoolArray, Key, Table

_TAIL = 0.025
"""Of each side of a 95 % interval."""


def evaluate(policy: CascadePolicy, table: Table, prices: Prices | None = None) -> dict[str, Any]:
    """Figures of a policy on labelled rows, as JSON. Intervals are of 95 %; None where a figure has no rows.

    They say how the policy does on new queries only if the rows had no part in the fit.
    """
    right = acceptable(table, policy.target, policy.provenance.right_from)
    seen = replay_policy(policy, table)
    return {
        "decide": policy.decide,
        "checkpoints": list(policy.checkpoints),
        "target": policy.target,
        "fitted_on_these_rows": policy.provenance.data_sha256 == _ordered(table).sha256,
        "routes": [_route(policy, key, table, right, seen) for key in table.groups],
        "all": _totals(table, right, seen, prices),
    }


def _ordered(table: Table) -> Table:
    return table.take(np.argsort(table.ids.astype(str), kind="stable"))


def _route(policy: CascadePolicy, key: Key, table: Table, right: BoolArray, seen: Replay) -> dict[str, Any]:
    rows = np.flatnonzero(table.of_group(key))
    found = policy.find(*key)
    figures: dict[str, Any] = {"route": key[0], "adapter_version": key[1], "fitted": found is not None}
    figures |= _risk(right[rows], seen.accepted[rows])
    figures["judged_tokens"] = float(seen.judged_tokens[rows].mean())
    if found is None:
        return figures
    for name in ("threshold", "alpha", "delta", "risk_bound", "num_labels", "model_labels", "needed_labels"):
        figures[name] = getattr(found, name)
    return figures | _model(policy, found, table.take(rows), right[rows])


def _risk(right: BoolArray, accepted: BoolArray) -> dict[str, Any]:
    """Who is accepted, and how many of them are wrong, with exact intervals."""
    num_rows, num_accepted = len(right), int(accepted.sum())
    num_wrong = int((accepted & ~right).sum())
    return {
        "rows": num_rows,
        "acceptable_share": float(right.mean()),
        "accepted_share": num_accepted / num_rows,
        "accepted_share_95": _exact(num_accepted, num_rows),
        "risk": num_wrong / num_accepted if num_accepted else None,
        "risk_95": _exact(num_wrong, num_accepted) if num_accepted else None,
    }


def _exact(count: int, num_rows: int) -> list[float]:
    return [clopper_pearson_lower(count, num_rows, _TAIL), clopper_pearson_upper(count, num_rows, _TAIL)]


def _model(policy: CascadePolicy, found: RoutePolicy, table: Table, right: BoolArray) -> dict[str, Any]:
    """Calibration and separation of the finished answer's model; the area is of the staged confidence."""
    probability = probabilities_of(found, table)[:, -1]
    staged = confidence_of(found, table, policy.skip_small_above, policy.keep_small_below)
    figures: dict[str, Any] = {}
    for name, statistic, values in (
        ("ece", expected_calibration_error, probability),
        ("brier", brier, probability),
        ("auroc", auroc, probability),
        ("aurc", _area, staged),
    ):
        figures[name] = statistic(values, right)
        interval = bootstrap(statistic, values, right)
        figures[f"{name}_95"] = None if interval is None else list(interval)
    return figures


def _area(confidence: FloatArray, right: BoolArray) -> float:
    return risk_coverage(confidence, right).area


def _totals(table: Table, right: BoolArray, seen: Replay, prices: Prices | None) -> dict[str, Any]:
    figures = _risk(right, seen.accepted)
    figures |= {
        "judged_tokens": float(seen.judged_tokens.mean()),
        "quality": _mean(seen.quality(table)),
        "quality_always_small": float(table.small_right.mean()),
        "quality_always_large": _mean(table.large_right),
    }
    if prices is not None:
        spent, large = seen.cost_nusd(table, prices).mean(), always_large_nusd(table, prices).mean()
        figures |= {
            "cost_usd": float(spent) / NANO_USD,
            "always_large_usd": float(large) / NANO_USD,
            "saved_share": float(1 - spent / large) if large else None,
            "rows_with_estimated_large_cost": int(np.isnan(table.large_completion_tokens).sum()),
        }
    return figures


def _mean(values: FloatArray) -> float | None:
    """None where the large model's answer would have been given and is not known."""
    return None if np.isnan(values).any() else float(values.mean())
