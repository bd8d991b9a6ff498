"""Pictures of a policy on labelled rows: is the model calibrated, and what coverage costs in risk, quality in money."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from serve_app.confidence.metrics import reliability, risk_coverage
from serve_app.confidence.policy import CascadePolicy
from serve_app.core import ConfigError
from serve_app.training.cascade.fit import acceptable
from serve_app.training.cascade.scores import confidence_of, probabilities_of
from serve_app.training.cascade.simulate import Prices, always_large_nusd, replay_policy
from serve_app.training.cascade.table import Table

_SWEEP = 60
"""Thresholds along the curve of quality against cost."""


def plot(policy: CascadePolicy, table: Table, prices: Prices, path: Path) -> None:
    """Write a PNG of three panels. Raises ConfigError where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure  # not pyplot: no window, no state shared between threads
    except ModuleNotFoundError as error:
        raise ConfigError("Plots need matplotlib: pip install 'headrace[plots]'.") from error
    figure = Figure(figsize=(15, 4.6), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    _reliability(left, policy, table)
    _risk_coverage(middle, policy, table)
    _quality_cost(right, policy, table, prices)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png", dpi=130)


def _reliability(axes: Any, policy: CascadePolicy, table: Table) -> None:
    """Points under the diagonal are answers that are worse than the model says; sizes are rows."""
    right = acceptable(table, policy.target, policy.provenance.right_from)
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1)
    for found in policy.routes:
        rows = table.of_group((found.route, found.adapter_version))
        if rows.any():
            bins = reliability(probabilities_of(found, table.take(rows))[:, -1], right[rows])
            axes.plot([b.stated for b in bins], [b.seen for b in bins], marker="o", label=found.name)
    axes.set(xlabel="stated probability", ylabel="share acceptable", title="Reliability", xlim=(0, 1), ylim=(0, 1))
    _legend(axes)


def _risk_coverage(axes: Any, policy: CascadePolicy, table: Table) -> None:
    """A curve a route, the target dashed, the fitted threshold as a dot."""
    right = acceptable(table, policy.target, policy.provenance.right_from)
    for found in policy.routes:
        rows = table.of_group((found.route, found.adapter_version))
        if not rows.any():
            continue
        confidence = confidence_of(found, table.take(rows), policy.skip_small_above, policy.keep_small_below)
        curve = risk_coverage(confidence, right[rows])
        (line,) = axes.plot(curve.coverage, curve.risk, label=found.name)
        if found.alpha is not None:
            axes.axhline(found.alpha, color=line.get_color(), linestyle="--", linewidth=1)
        if found.threshold is not None and (accepted := confidence > found.threshold).any():
            axes.plot(accepted.mean(), (~right[rows])[accepted].mean(), marker="o", color=line.get_color())
    axes.set(xlabel="accepted share", ylabel="wrong among accepted", title="Risk against coverage", xlim=(0, 1))
    axes.set_ylim(bottom=0)
    _legend(axes)


def _quality_cost(axes: Any, policy: CascadePolicy, table: Table, prices: Prices) -> None:
    """One threshold for all routes, swept; the policy as fitted as a dot; a random mix of the two models as a line."""
    axes.set(xlabel="cost, always-large = 1", ylabel="mean score", title="Quality against cost")
    known = ~np.isnan(table.large_right)
    if not known.any():
        axes.text(0.5, 0.5, "no row has the large model's score", ha="center", transform=axes.transAxes)
        return
    table = table.take(known)
    large = always_large_nusd(table, prices).mean()
    points = []
    for threshold in np.linspace(0.0, 1.0, _SWEEP):
        seen = replay_policy(policy, table, float(threshold))
        points.append((seen.cost_nusd(table, prices).mean() / large, seen.quality(table).mean()))
    axes.plot(*zip(*points, strict=True), label="one threshold, swept")
    fitted = replay_policy(policy, table)
    axes.plot(fitted.cost_nusd(table, prices).mean() / large, fitted.quality(table).mean(), "o", label="as fitted")
    small = table.small_prompt_tokens * prices.small_prompt + table.small_completion_tokens * prices.small_completion
    ends = [(small.mean() / large, table.small_right.mean()), (1.0, table.large_right.mean())]
    axes.plot(*zip(*ends, strict=True), color="grey", linestyle=":", marker="x", label="random mix of the two models")
    _legend(axes)


def _legend(axes: Any) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize="small")
