"""The part of a policy that is guaranteed: for one route, the threshold that Learn-then-Test allows, or a refusal."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtri

from serve_app.confidence.model import FloatArray
from serve_app.confidence.policy import RoutePolicy
from serve_app.confidence.risk import Chosen, choose, clopper_pearson_lower, fewest_accepted, labels_needed
from serve_app.training.cascade.options import FitOptions
from serve_app.training.cascade.scores import confidence_of, probabilities_of
from serve_app.training.cascade.sequence import every_threshold, fix_sequence, stricter_thresholds
from serve_app.training.cascade.table import BoolArray, Table

_FEWEST_TOLD = 10
"""Accepted rows of a threshold whose risk is worth a guess; a handful at the very top may be right anywhere."""


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
        more = num_rows + max(fewest_accepted(alpha, delta), num_rows // 2)  # a handful more is bad advice
        enough = None if needed is None else max(math.ceil(needed / share), more)
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
    """Roughly the rows of the threshold part with which some threshold should pass; None: with no number of them.

    An estimate for people: unlike the tests it looks at all labels. The threshold that comes first is the one that
    needs fewest rows at about the risk that was observed, with half a wrong answer added, so that a lucky few do not
    promise too much. Where none seems to have such a low risk, that may be bad luck: then the one whose risk may still
    be lowest, if it was halfway between its lower confidence bound and the target.
    """
    accepts = confidence > every_threshold(confidence)[:, None]
    num_accepted = accepts.sum(axis=1)
    told = num_accepted >= min(_FEWEST_TOLD, len(confidence))
    num_accepted, num_wrong = num_accepted[told], (accepts[told] & wrong).sum(axis=1)
    if not num_accepted.any():
        return None
    risk = (num_wrong + 0.5) / (num_accepted + 1)
    if (risk < alpha).any():
        about = (ndtri(1 - delta) / np.where(risk < alpha, alpha - risk, np.nan)) ** 2 / num_accepted
        best = int(np.nanargmin(about))
        needed = labels_needed(alpha, delta, float(risk[best]))
        if needed is not None:
            return math.ceil(needed * len(confidence) / int(num_accepted[best]))
    counts = zip(num_wrong.tolist(), num_accepted.tolist(), strict=True)
    least = np.array([clopper_pearson_lower(few, count, delta) for few, count in counts])
    best = int(least.argmin())
    needed = labels_needed(alpha, delta, float(least[best] + alpha) / 2) if least[best] < alpha else None
    return None if needed is None else math.ceil(needed * len(confidence) / int(num_accepted[best]))
