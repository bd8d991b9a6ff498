"""How well the best passage fits a question, as a number that can be compared with a threshold."""

from __future__ import annotations

import math

MIDPOINT = 0.536
SLOPE = 15.7
"""Of a logistic regression on validation questions and on questions from another field: `bench/rag/choices.py`."""


def fit(similarity: float) -> float:
    """1 / (1 + exp(-SLOPE x (cosine - MIDPOINT))), for the best cosine of question and passage; in (0, 1).

    About the share of questions whose document is among the first six passages where the best of them has that cosine.

    >>> fit(MIDPOINT)
    0.5
    """
    return 1 / (1 + math.exp(-SLOPE * (similarity - MIDPOINT)))
