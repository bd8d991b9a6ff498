"""From labelled attempts to a cascade policy.

1. the rows of each route and adapter version are split by hash: model part and threshold part, never the same rows
2. model part: an acceptance model for each stage, its probabilities out of fold, and margins for early decisions
3. threshold part: each row's staged confidence, a sequence of thresholds fixed without labels, Learn-then-Test
4. a route whose data cannot support its target gets no threshold, and the number of labels that would do
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from serve_app import __version__
from serve_app.confidence.policy import CascadePolicy, Provenance, RoutePolicy
from serve_app.core import DataError
from serve_app.training.cascade.drafts import draft_policies
from serve_app.training.cascade.options import FitOptions
from serve_app.training.cascade.outcomes import LabelledAttempt
from serve_app.training.cascade.references import with_references
from serve_app.training.cascade.split import threshold_part
from serve_app.training.cascade.table import BoolArray, Table, tabulate
from serve_app.training.cascade.threshold import set_threshold

_FEWEST_MODEL_ROWS = 20


@dataclass(frozen=True)
class Fit:
    """A policy and which rows set its thresholds."""

    policy: CascadePolicy
    threshold_part: BoolArray
    """(num_rows,); the models have seen none of these."""


def fit(attempts: Sequence[LabelledAttempt], options: FitOptions) -> CascadePolicy:
    """The same for the same rows, in any order, and options. Raises DataError where the rows lack what is asked for."""
    return fit_table(tabulate(attempts, options.stages), options).policy


def fit_table(table: Table, options: FitOptions) -> Fit:
    """As `fit`, on rows tabulated at the checkpoints of the options."""
    drafts, ordered, part = learn(table, options)
    right = acceptable(ordered, options.target, options.right_from)
    routes = []
    for draft in drafts:
        rows = part & ordered.of_group((draft.route, draft.adapter_version))
        cut = ordered.take(rows)
        routes.append(with_references(set_threshold(draft, cut, ~right[rows], options), cut, options))
    return Fit(assemble(ordered, routes, options), threshold_part(table, options.model_share, options.seed))


def learn(table: Table, options: FitOptions) -> tuple[list[RoutePolicy], Table, BoolArray]:
    """Policies that escalate all, the rows ordered by id, and which of these are left for the thresholds."""
    ordered = table.take(np.argsort(table.ids.astype(str), kind="stable"))  # sums of floats depend on the order of rows
    part = threshold_part(ordered, options.model_share, options.seed)
    _check(ordered, part, options)
    right = acceptable(ordered, options.target, options.right_from)
    return draft_policies(ordered.take(~part), right[~part], ordered.groups, options), ordered, part


def acceptable(table: Table, target: str, right_from: float) -> BoolArray:
    """The label of each row (num_rows,). Raises DataError where `no_worse` is asked of a row with no large answer."""
    if target == "right":
        return np.asarray(table.small_right >= right_from)
    missing = np.flatnonzero(np.isnan(table.large_right))
    if len(missing):
        raise DataError(
            f"Row {table.ids[missing[0]]!r} has no large_right, and the target no_worse needs one in every row "
            f"({len(missing)} of {len(table)} lack it)."
        )
    return np.asarray(table.small_right >= table.large_right)


def _check(table: Table, part: BoolArray, options: FitOptions) -> None:
    if table.checkpoints != options.stages:
        raise DataError(f"The table has the checkpoints {table.checkpoints} and the options {options.stages}.")
    unknown = sorted(options.route_alpha.keys() - {key[0] for key in table.groups})
    if unknown:
        raise DataError(f"No row has the route {unknown[0]!r}, for which a target was given; check its name.")
    num_model_rows = int((~part).sum())
    if num_model_rows < _FEWEST_MODEL_ROWS:
        raise DataError(
            f"{len(table)} labelled rows leave {num_model_rows} for the acceptance models; label at least "
            f"{round(_FEWEST_MODEL_ROWS / options.model_share)}, and better 150 or more a route."
        )


def assemble(
    table: Table, routes: Sequence[RoutePolicy], options: FitOptions, budget_usd: float | None = None
) -> CascadePolicy:
    """The policy of these routes; `table` holds the rows that it was made from."""
    return CascadePolicy(
        decide=options.decide,
        checkpoints=options.stages,
        target=options.target,
        skip_small_above=options.skip_small_above,
        keep_small_below=options.keep_small_below,
        routes=tuple(routes),
        provenance=Provenance(
            data_sha256=table.sha256,
            num_rows=len(table),
            seed=options.seed,
            joint=options.joint,
            right_from=options.right_from,
            budget_usd=budget_usd,
            headrace=__version__,
            created=options.created,
        ),
    )
