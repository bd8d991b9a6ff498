"""Does the stated risk hold on queries that had no part in fitting? Many draws of calibration and test, two rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from scipy.stats import binomtest

from serve_app.confidence.policy import CascadePolicy, RoutePolicy
from serve_app.confidence.risk import Chosen, empirical
from serve_app.training.cascade.fit import acceptable, assemble, learn
from serve_app.training.cascade.options import FitOptions
from serve_app.training.cascade.scores import confidence_of
from serve_app.training.cascade.sequence import every_threshold
from serve_app.training.cascade.simulate import Prices, always_large_nusd, replay_policy
from serve_app.training.cascade.table import BoolArray, Table
from serve_app.training.cascade.threshold import set_threshold

RULES = ("learn_then_test", "empirical")
SHARES = {"third": 1 / 3, "half": 1 / 2}
"""Of the rows that calibrate; all others judge."""
STATED = {"support": 0.1, "legal": 0.35, "medical": 0.6, "code": 0.6, "general": 0.8}
"""Risks that an operator might state for these routes and so small a model. Illustrations: written down before any run
with them, and not chosen for what they give. At one common 10 % most routes are refused, and nothing is tested."""


@dataclass(frozen=True)
class Experiment:
    """One stated risk: what counts as wrong, and how much of it is allowed."""

    target: Literal["right", "no_worse"]
    alpha: float
    route_alpha: Mapping[str, float] = field(default_factory=dict)

    def options(self, base: FitOptions) -> FitOptions:
        """What the fit is asked for."""
        return replace(base, target=self.target, alpha=self.alpha, route_alpha=self.route_alpha)


EXPERIMENTS = {
    "right": Experiment("right", 0.1),
    "stated": Experiment("right", 0.1, STATED),
    "no_worse": Experiment("no_worse", 0.1),
}


def fitted(table: Table, options: FitOptions) -> dict[str, CascadePolicy]:
    """Both rules on the same acceptance models and the same rows: only how the threshold is chosen differs."""
    drafts, ordered, part = learn(table, options)
    right = acceptable(ordered, options.target, options.right_from)
    routes: dict[str, list[RoutePolicy]] = {rule: [] for rule in RULES}
    for draft in drafts:
        rows = part & ordered.of_group((draft.route, draft.adapter_version))
        cut, wrong = ordered.take(rows), ~right[rows]
        routes["learn_then_test"].append(set_threshold(draft, cut, wrong, options))
        routes["empirical"].append(_empirical(draft, cut, wrong, options))
    return {rule: assemble(ordered, found, options) for rule, found in routes.items()}


def _empirical(draft: RoutePolicy, table: Table, wrong: BoolArray, options: FitOptions) -> RoutePolicy:
    """The threshold that accepts most while the observed risk is at most alpha."""
    assert draft.alpha is not None
    confidence = confidence_of(draft, table, options.skip_small_above, options.keep_small_below)
    thresholds = every_threshold(confidence)
    found = empirical(confidence > thresholds[:, None], wrong, draft.alpha)
    threshold = float(thresholds[found.index]) if isinstance(found, Chosen) else None
    return RoutePolicy(**{**dict(draft), "threshold": threshold})


def resample(
    table: Table, options: FitOptions, prices: Prices, draws: int, share: float, seed: int = 0
) -> dict[str, Any]:
    """A `share` of the rows calibrates, the risk is counted on all others, `draws` times.

    The guarantee is about all queries, and the others stand in for them: the fewer rows calibrate, the better they do.
    With halves, what the calibration was lucky in is missing from the rest, which is then worse than the whole.

    A route is kept in a draw when at most alpha of what it accepts is wrong, so a route that accepts nothing is kept:
    its accepted share and the draws in which it accepts anything are reported beside it.
    """
    rng = np.random.default_rng(seed)
    right = acceptable(table, options.target, options.right_from)
    tallies = {rule: _Tally(table, options) for rule in RULES}
    for draw in range(draws):
        calibration = _part_of_each_group(table, share, rng)
        cut = table.take(calibration)
        rest, rest_right = table.take(~calibration), right[~calibration]
        for rule, policy in fitted(cut, replace(options, seed=draw)).items():
            tallies[rule].add(policy, rest, rest_right, prices, options)
    return {rule: tally.summary() for rule, tally in tallies.items()}


def _part_of_each_group(table: Table, share: float, rng: np.random.Generator) -> BoolArray:
    mask = np.zeros(len(table), dtype=bool)
    for key in table.groups:
        rows = np.flatnonzero(table.of_group(key))
        mask[rng.permutation(rows)[: round(share * len(rows))]] = True
    return mask


class _Tally:
    """What one rule did over the draws."""

    def __init__(self, table: Table, options: FitOptions) -> None:
        self.routes = [key[0] or "" for key in table.groups]
        self.alpha = {key[0] or "": options.alpha_of(key) for key in table.groups}
        self.kept: dict[str, list[bool]] = {route: [] for route in self.routes}
        self.accepted: dict[str, list[float]] = {route: [] for route in self.routes}
        self.risk: dict[str, list[float]] = {route: [] for route in self.routes}
        self.saved: list[float] = []
        self.accepted_all: list[float] = []

    def add(self, policy: CascadePolicy, table: Table, right: BoolArray, prices: Prices, options: FitOptions) -> None:
        seen = replay_policy(policy, table)
        self.accepted_all.append(float(seen.accepted.mean()))
        large = always_large_nusd(table, prices).sum()
        self.saved.append(float(1 - seen.cost_nusd(table, prices).sum() / large))
        for key in table.groups:
            route, rows = key[0] or "", table.of_group(key)
            accepted = seen.accepted & rows
            wrong = int((accepted & ~right).sum())
            count = int(accepted.sum())
            self.kept[route].append(wrong <= options.alpha_of(key) * count)
            self.accepted[route].append(count / int(rows.sum()))
            if count:
                self.risk[route].append(wrong / count)

    def summary(self) -> dict[str, Any]:
        routes = {route: self._route(route) for route in self.routes}
        worst = min(routes, key=lambda name: float(routes[name]["kept"]))
        return {
            "kept": routes[worst]["kept"],
            "kept_95": routes[worst]["kept_95"],
            "worst_route": worst,
            "routes_that_accept_in_some_draw": [name for name in routes if routes[name]["draws_that_accept"] > 0],
            "accepted_share": float(np.mean(self.accepted_all)),
            "accepted_share_95_of_draws": _range(self.accepted_all),
            "saved": float(np.mean(self.saved)),
            "saved_95_of_draws": _range(self.saved),
            "routes": routes,
        }

    def _route(self, route: str) -> dict[str, Any]:
        kept, accepts = np.array(self.kept[route]), np.array(self.accepted[route]) > 0
        return {
            "alpha": self.alpha[route],
            "kept": float(kept.mean()),
            "kept_95": _interval(self.kept[route]),
            "kept_among_draws_that_accept": float(kept[accepts].mean()) if accepts.any() else None,
            "draws_that_accept": float(accepts.mean()),
            "accepted_share": float(np.mean(self.accepted[route])),
            "mean_risk": float(np.mean(self.risk[route])) if self.risk[route] else None,
        }


def _range(values: list[float]) -> list[float]:
    """95 % of the draws lie within."""
    low, high = np.quantile(values, [0.025, 0.975])
    return [float(low), float(high)]


def _interval(kept: list[bool]) -> list[float]:
    found = binomtest(sum(kept), len(kept)).proportion_ci(0.95, method="exact")
    return [float(found.low), float(found.high)]
