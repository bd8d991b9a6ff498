"""A policy's view of labelled rows, all at once: the same numbers that the rule gets one by one."""

from __future__ import annotations

import numpy as np

from serve_app.confidence.model import FloatArray
from serve_app.confidence.policy import RoutePolicy
from serve_app.confidence.stages import staged_confidence
from serve_app.training.cascade.table import BoolArray, Table


def probabilities_of(policy: RoutePolicy, table: Table) -> FloatArray:
    """Acceptance probability at each stage (num_rows, num_stages); NaN where a draft ended before or no model is.

    The rows should be of the policy's route and version.
    """
    found = np.full(table.features.shape[:2], np.nan)
    for column, model in enumerate((*(stage.model for stage in policy.early), policy.final)):
        if model is not None:
            reached = ~np.isnan(table.features[:, column, 0])
            found[reached, column] = model.probability(table.features[reached, column])
    return found


def confidence_of(
    policy: RoutePolicy, table: Table, skip_small_above: float | None, keep_small_below: float | None
) -> FloatArray:
    """The strictness below which each row is accepted (num_rows,), the pre-router's say included."""
    staged = staged_confidence(probabilities_of(policy, table), policy.margins)
    judged = np.where(skipped(table.gain, skip_small_above), 0.0, staged)  # 0: never accepted, 1: always
    return np.where(kept(table.gain, keep_small_below), 1.0, judged)


def skipped(gain: FloatArray, skip_small_above: float | None) -> BoolArray:
    """Mask (num_rows,) of the rows that the pre-router sends to the large model at once; None: none."""
    return np.asarray(gain > (np.inf if skip_small_above is None else skip_small_above))


def kept(gain: FloatArray, keep_small_below: float | None) -> BoolArray:
    """Mask (num_rows,) of the rows whose small answer the pre-router keeps unjudged; None: none."""
    return np.asarray(gain < (-np.inf if keep_small_below is None else keep_small_below))
