"""The part of a policy that is guaranteed: for one route, the threshold that Learn-then-Test allows, or a refusal."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtri

from serve_app.confidence.model import FloatArray
from serve_app.confidence.policy import RoutePolicy
from serve_app.confidence.risk import Chosen, choose, fewest_accepted, labels_needed
from serve_app.training.cascade.options import FitOptions
from serve_app.training.cascade.scores import confidence_of, probabilities_of
from serve_app.training.cascade.sequence import every_threshold, fix_sequence, stricter_thresholds
from serve_app.training.cascade.table import BoolArray, Table


def set_threshold(draft: RoutePolicy, table: Table, wrong: BoolArray, options: FitOptions) -> RoutePolicy:
    """The draft with a threshold, or with the labels it would need. `table` holds the rows of the threshold part."""
    alpha, delta = draft.alpha, draft.delta
    assert alpha is not None and delta is not None
    confidence = confidence_of(draft, table, options.skip_small_above, options.keep_small_below)
    sequence = fix_sequence(confidence, probabilities_of(draft, table)[:, -1], alpha, delta)
    found = choose(sequence.accepts, wrong, alpha, delta)
    if not isinstance(found, Chosen):
        num_rows = len(table) + draft.model_labels
        share = len(table) / num_rows
        needed = _needed(confidence, wrong, alpha, delta)
        enough = None if needed is None else max(math.ceil(needed / share), num_rows + fewest_accepted(alpha, delta))
        return _with(draft, num_labels=len(table), needed_labels=enough)
    return _with(
        draft,
        threshold=float(sequence.thresholds[found.index]),
        thresholds=stricter_thresholds(confidence, float(sequence.thresholds[found.index])),
        num_labels=len(table),
        accepted_share=found.num_accepted / len(table),
        observed_risk=found.num_wrong / found.num_accepted,
        risk_bound=found.risk_bound,
    )


def _with(draft: RoutePolicy, **changes: object) -> RoutePolicy:
    return RoutePolicy(**{**dict(draft), **changes})


def _needed(confidence: FloatArray, wrong: BoolArray, alpha: float, delta: float) -> int | None:
    """Rows of the threshold part with which some threshold should pass, at about the risk that was observed; or None.

    An estimate for people: unlike the tests it looks at all labels. Half a wrong answer is added to each count, so that
    a lucky few do not promise too much.
    """
    accepts = confidence > every_threshold(confidence)[:, None]
    num_accepted = accepts.sum(axis=1)
    accepts, num_accepted = accepts[num_accepted > 0], num_accepted[num_accepted > 0]
    risk = ((accepts & wrong).sum(axis=1) + 0.5) / (num_accepted + 1)
    room = np.where(risk < alpha, alpha - risk, np.nan)
    if np.isnan(room).all():
        return None
    about = (ndtri(1 - delta) / room) ** 2 * alpha * (1 - alpha) / num_accepted
    best = int(np.nanargmin(about))
    accepted = labels_needed(alpha, delta, float(risk[best]))
    return None if accepted is None else math.ceil(accepted * len(confidence) / num_accepted[best])
