"""Accept early, escalate early, or hold on: one family of rules with a single strictness.

A draft is judged at each checkpoint it passes and once more when it has ended. With the threshold t and each stage's
margins (in log-odds, so that they mean as much near 1 as at 1/2):

    at a checkpoint     accept    where the probability, lowered by accept_margin, is above t
                        escalate  where the probability, raised by escalate_margin, is not above t
                        hold on   otherwise
    at the end          accept    where the probability is above t, else escalate

Raising t makes each acceptance rarer and each escalation likelier, so what t accepts is among what any lower t
accepts. A whole draft therefore has one number, its `staged_confidence`: the t below which it is accepted. To the
search for a threshold the staged rule looks like any score, and Learn-then-Test applies to it as it stands.

"Above" is strict on purpose: a threshold is the number of some labelled row, and given that number, the labelled rows
strictly above it are independent draws from the queries that the threshold will accept. The binomial test needs this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from serve_app.confidence.model import FloatArray, logit, sigmoid


@dataclass(frozen=True, slots=True)
class Margins:
    """Of one checkpoint, in log-odds, >= 0; None: never on this side."""

    accept: float | None
    escalate: float | None


def lowered(probability: FloatArray, accept_margin: float | None) -> FloatArray:
    """What is compared with the threshold to accept early; 0, which is above no threshold, where that is never done."""
    if accept_margin is None:
        return np.zeros_like(probability)
    return sigmoid(logit(probability) - accept_margin)


def raised(probability: FloatArray, escalate_margin: float | None) -> FloatArray:
    """What is compared with the threshold to escalate early; 1, which is above all, where that is never done."""
    if escalate_margin is None:
        return np.ones_like(probability)
    return sigmoid(logit(probability) + escalate_margin)


def staged_confidence(probabilities: FloatArray, margins: Sequence[Margins]) -> FloatArray:
    """The strictness below which each draft is accepted, shape (num_rows,).

    `probabilities` (num_rows, len(margins) + 1): one column a checkpoint, then the end; NaN where a draft ended before
    it.

    >>> rows = np.array([[0.9, 0.6], [0.5, 0.8], [np.nan, 0.7]])
    >>> staged_confidence(rows, [Margins(accept=0.0, escalate=0.0)]).round(2)      # the first column decides alone
    array([0.9, 0.5, 0.7])
    >>> staged_confidence(rows, [Margins(accept=None, escalate=None)]).round(2)    # it never decides
    array([0.6, 0.8, 0.7])
    """
    accepted_below = np.zeros(len(probabilities))
    not_yet_escalated_below = np.ones(len(probabilities))
    for column, margin in enumerate(margins):
        stage = probabilities[:, column]
        reached = ~np.isnan(stage)
        now = np.minimum(lowered(stage, margin.accept), not_yet_escalated_below)
        accepted_below = np.where(reached, np.maximum(accepted_below, now), accepted_below)
        still = np.minimum(raised(stage, margin.escalate), not_yet_escalated_below)
        not_yet_escalated_below = np.where(reached, still, not_yet_escalated_below)
    return np.maximum(accepted_below, np.minimum(probabilities[:, -1], not_yet_escalated_below))


def deciding_stage(probabilities: FloatArray, margins: Sequence[Margins], threshold: float) -> np.ndarray:
    """Column of `probabilities` at which each draft is decided, shape (num_rows,); arguments as above."""
    decided = np.full(len(probabilities), len(margins), dtype=np.intp)
    for column in reversed(range(len(margins))):
        stage, margin = probabilities[:, column], margins[column]
        reached = ~np.isnan(stage)
        accepts = lowered(stage, margin.accept) > threshold
        escalates = ~(raised(stage, margin.escalate) > threshold)
        decided[reached & (accepts | escalates)] = column
    return decided
