"""How sure an early look has to be: decide as early as costs next to nothing in acceptance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from serve_app.confidence.model import FloatArray
from serve_app.confidence.stages import Margins, deciding_stage, staged_confidence
from serve_app.training.cascade.table import IntArray

_CHOICES = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, None)
"""Log-odds; None: never."""
_TOLERATED_LOSS = 0.01
"""Of the accepted share, against a rule that always waits for the end."""


@dataclass(frozen=True)
class _Outlook:
    """What some margins are expected to do at the target."""

    accepted_share: float
    held_tokens: float
    """Mean number of tokens seen when the decision falls."""


def pick_margins(
    probabilities: FloatArray, num_tokens: IntArray, checkpoints: Sequence[int], alpha: float
) -> tuple[Margins, ...]:
    """The margins that hold fewest tokens among those that lose at most one point of acceptance.

    `probabilities` (num_rows, len(checkpoints) + 1) as in `staged_confidence`, each from a model that did not see the
    row; `num_tokens` (num_rows,). What a row is worth is its probability at the end and not its label, which says the
    same with less noise. Checkpoints are set one after the other, from the last.
    """
    margins = [Margins(None, None)] * len(checkpoints)
    if len(probabilities) == 0:
        return tuple(margins)
    waiting = _outlook(probabilities, num_tokens, checkpoints, margins, alpha)
    if waiting.accepted_share == 0:
        return tuple(margins)
    for column in reversed(range(len(checkpoints))):
        best = (_outlook(probabilities, num_tokens, checkpoints, margins, alpha).held_tokens, margins[column])
        for accept, escalate in product(_CHOICES, _CHOICES):
            trial = [*margins[:column], Margins(accept, escalate), *margins[column + 1 :]]
            seen = _outlook(probabilities, num_tokens, checkpoints, trial, alpha)
            if seen.accepted_share >= waiting.accepted_share - _TOLERATED_LOSS and seen.held_tokens < best[0]:
                best = (seen.held_tokens, trial[column])
        margins[column] = best[1]
    return tuple(margins)


def _outlook(
    probabilities: FloatArray,
    num_tokens: IntArray,
    checkpoints: Sequence[int],
    margins: Sequence[Margins],
    alpha: float,
) -> _Outlook:
    """At the lowest threshold whose expected risk is at most alpha; no acceptance where there is none."""
    confidence = staged_confidence(probabilities, margins)
    order = np.argsort(-confidence, kind="stable")
    risk = np.cumsum(1 - probabilities[order, -1]) / np.arange(1, len(order) + 1)
    num_accepted = int(np.flatnonzero(risk <= alpha).max(initial=-1)) + 1
    threshold = float(confidence[order[num_accepted]]) if num_accepted < len(order) else 0.0
    stage = deciding_stage(probabilities, margins, threshold)
    held = np.append(np.array(checkpoints, dtype=np.float64), np.inf)[stage]
    return _Outlook(num_accepted / len(order), float(np.minimum(held, num_tokens).mean()))
