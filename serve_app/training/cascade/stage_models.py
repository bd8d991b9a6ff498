"""Acceptance models from few labels: routes lend each other strength, and no label is predicted by a model that saw it.

A route has a hundred labels or two, so its own regression would be noise and one for all routes would be biased. Each
row enters the design twice, once in columns shared by all routes and once in columns of its route (Daumé 2007,
arXiv:0907.1815), with an L2 penalty: what a route's rows do not say, the others' do. How much is held back, and how
far routes may differ, is set by cross-validated log-loss.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from serve_app.confidence.features import FEATURES
from serve_app.confidence.model import AcceptanceModel, FloatArray, Isotonic, Platt
from serve_app.training.cascade.table import BoolArray, IntArray

_FREEDOMS = (0.003, 0.02, 0.1, 0.5)
"""Inverse penalties tried."""
_INTERCEPT_SCALE = 3.0
"""A route's own ease is held back less than its own weights."""
_FEWEST_FOR_ISOTONIC = 1000
"""Rows of one route; below, a curve through a few knots says less than a line."""
_SLOPE_SPREAD, _OFFSET_SPREAD = 0.5, 1.0
"""Standard deviations of the calibration's log-slope and offset around none, before the rows are seen."""


@dataclass(frozen=True)
class StageModels:
    """One model a group, and what each row gets from models that did not see it."""

    models: list[AcceptanceModel]
    out_of_fold: FloatArray
    """Calibrated probabilities (num_rows,)."""


def fit_stage(features: FloatArray, right: BoolArray, group: IntArray, fold: IntArray, num_groups: int) -> StageModels:
    """`features` (num_rows, len(FEATURES)); `right`, `group` and `fold` (num_rows,). Deterministic; changes nothing."""
    columns = np.flatnonzero(features.std(axis=0) > 1e-9)
    if len(np.unique(right)) < 2 or len(columns) == 0:
        return _constant(right, num_groups)
    mean, scale = features[:, columns].mean(axis=0), features[:, columns].std(axis=0)
    standard = (features[:, columns] - mean) / scale
    freedom, log_odds = _best(standard, right, group, fold, num_groups)
    weights, intercepts = _regress(standard, right, group, num_groups, freedom)
    models, out_of_fold = [], np.zeros(len(right))
    for index in range(num_groups):
        rows = group == index
        calibration = calibrate(log_odds[rows], right[rows])
        out_of_fold[rows] = calibration.probability(log_odds[rows])
        models.append(
            AcceptanceModel(
                features=tuple(FEATURES[column] for column in columns),
                mean=tuple(mean.tolist()),
                scale=tuple(scale.tolist()),
                coefficients=tuple(weights[index].tolist()),
                intercept=float(intercepts[index]),
                calibration=calibration,
            )
        )
    return StageModels(models, out_of_fold)


def calibrate(log_odds: FloatArray, right: BoolArray) -> Platt | Isotonic:
    """From log-odds of models that did not see the rows to probabilities; (num_rows,) each, may be empty."""
    if len(right) >= _FEWEST_FOR_ISOTONIC:
        return _isotonic(log_odds, right)

    def loss(parameters: FloatArray) -> float:
        straight = np.exp(parameters[0]) * log_odds + parameters[1]
        surprise = np.logaddexp(0.0, np.where(right, -straight, straight)).sum()
        return float(surprise + (parameters[0] / _SLOPE_SPREAD) ** 2 / 2 + (parameters[1] / _OFFSET_SPREAD) ** 2 / 2)

    found = minimize(loss, np.zeros(2), method="L-BFGS-B", bounds=((-3.0, 3.0), (-10.0, 10.0))).x
    return Platt(slope=float(np.exp(found[0])), offset=float(found[1]))


def _isotonic(log_odds: FloatArray, right: BoolArray) -> Isotonic:
    """Knots at the middle of each level, whose share is pulled a little from 0 and 1; two more keep the ends rising."""
    from sklearn.isotonic import IsotonicRegression

    levels = IsotonicRegression().fit_transform(log_odds, right.astype(np.float64))
    middles, shares = [], []
    for level in np.unique(levels):
        rows = levels == level
        middles.append(float(log_odds[rows].mean()))
        shares.append(float((right[rows].sum() + 0.5) / (rows.sum() + 1)))
    rising = np.maximum.accumulate(shares)
    ends = (min(log_odds.min(), middles[0]) - 1.0, max(log_odds.max(), middles[-1]) + 1.0)
    return Isotonic(
        log_odds=(ends[0], *middles, ends[1]),
        probabilities=(rising[0] / 2, *rising.tolist(), (1 + rising[-1]) / 2),
    )


def _constant(right: BoolArray, num_groups: int) -> StageModels:
    """Where labels or signals are all alike there is nothing to learn but the share."""
    share = (right.sum() + 1) / (len(right) + 2)
    model = AcceptanceModel(
        features=(),
        mean=(),
        scale=(),
        coefficients=(),
        intercept=float(np.log(share / (1 - share))),
        calibration=Platt(slope=1.0, offset=0.0),
    )
    return StageModels([model] * num_groups, np.full(len(right), share))


def _best(
    standard: FloatArray, right: BoolArray, group: IntArray, fold: IntArray, num_groups: int
) -> tuple[float, FloatArray]:
    """The freedom with the least log-loss out of fold, and the log-odds (num_rows,) that it was measured on."""
    tried = []
    for freedom in _FREEDOMS:
        log_odds = np.zeros(len(right))
        for held in np.unique(fold):
            rest, rows = fold != held, fold == held
            if len(np.unique(right[rest])) < 2:
                continue  # no model can be fitted without these rows: their log-odds stay even
            weights, intercepts = _regress(standard[rest], right[rest], group[rest], num_groups, freedom)
            log_odds[rows] = (standard[rows] * weights[group[rows]]).sum(axis=1) + intercepts[group[rows]]
        loss = float(np.logaddexp(0.0, np.where(right, -log_odds, log_odds)).mean())
        tried.append((loss, freedom, log_odds))
    _, freedom, log_odds = min(tried, key=lambda trial: trial[:2])
    return freedom, log_odds


def _regress(
    standard: FloatArray, right: BoolArray, group: IntArray, num_groups: int, freedom: float
) -> tuple[FloatArray, FloatArray]:
    """Weights (num_groups, num_columns) and intercepts (num_groups,) of each route."""
    from sklearn.linear_model import LogisticRegression

    num_columns = standard.shape[1]
    belongs = np.eye(num_groups)[group]
    own = (belongs[:, :, None] * standard[:, None, :]).reshape(len(standard), -1)
    design = np.hstack([standard, own, _INTERCEPT_SCALE * belongs])
    model = LogisticRegression(C=freedom, solver="newton-cholesky", max_iter=100).fit(design, right)
    shared, apart, lift = np.split(model.coef_[0], [num_columns, num_columns * (1 + num_groups)])
    weights = shared + apart.reshape(num_groups, num_columns)
    return weights, float(model.intercept_[0]) + _INTERCEPT_SCALE * lift
