"""The part of a policy that is learned: for each route, models of all stages and margins. No threshold yet."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from serve_app.confidence.model import AcceptanceModel
from serve_app.confidence.policy import EarlyStage, RoutePolicy
from serve_app.training.cascade.margins import pick_margins
from serve_app.training.cascade.options import FitOptions
from serve_app.training.cascade.split import folds
from serve_app.training.cascade.stage_models import fit_stage
from serve_app.training.cascade.table import BoolArray, IntArray, Key, Table

_FEWEST_EARLY_ROWS = 25
"""Rows of a route that passed a checkpoint; with fewer, nothing is decided there."""

_Models = list[AcceptanceModel | None]


def draft_policies(table: Table, right: BoolArray, keys: Sequence[Key], options: FitOptions) -> list[RoutePolicy]:
    """One for each of `keys`, escalating all; from the rows of the model part and their labels `right` (num_rows,)."""
    group = np.array([keys.index(key) for key in table.keys], dtype=np.intp)
    fold = folds(table, right, options.seed)
    probabilities = np.full(table.features.shape[:2], np.nan)
    *early, final = (
        _stage(table, right, group, fold, len(keys), column, probabilities) for column in range(probabilities.shape[1])
    )
    found = []
    for index, key in enumerate(keys):
        rows = group == index
        margins = pick_margins(probabilities[rows], table.num_tokens[rows], options.stages, options.alpha_of(key))
        stages = tuple(
            EarlyStage(model=models[index], accept_margin=margin.accept, escalate_margin=margin.escalate)
            for models, margin in zip(early, margins, strict=True)
        )
        found.append(
            RoutePolicy(
                route=key[0],
                adapter_version=key[1],
                early=stages,
                final=final[index],
                threshold=None,
                thresholds=(),
                alpha=options.alpha_of(key),
                delta=options.delta_of(len(keys)),
                num_labels=0,
                model_labels=int(rows.sum()),
                accepted_share=0.0,
                observed_risk=None,
                risk_bound=None,
                needed_labels=None,
            )
        )
    return found


def _stage(
    table: Table,
    right: BoolArray,
    group: IntArray,
    fold: IntArray,
    num_groups: int,
    column: int,
    probabilities: np.ndarray,
) -> _Models:
    """Models of one stage; writes the predictions out of fold into `probabilities[:, column]`."""
    reached = ~np.isnan(table.features[:, column, 0])
    if column < len(table.checkpoints):
        enough = np.bincount(group[reached], minlength=num_groups) >= _FEWEST_EARLY_ROWS
    else:
        enough = np.ones(num_groups, dtype=bool)
    used = reached & enough[group]
    if not used.any():
        return [None] * num_groups
    found = fit_stage(table.features[used, column], right[used], group[used], fold[used], num_groups)
    probabilities[used, column] = found.out_of_fold
    return [model if enough[index] else None for index, model in enumerate(found.models)]
