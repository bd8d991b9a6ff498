"""Figures of a classifier from true labels, predicted labels and probabilities. Pure functions."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

_BINS = 10
_Z95 = 1.959964


def accuracy(truth: Sequence[str], predicted: Sequence[str]) -> float:
    """Share of equal labels; both are as long as each other and not empty."""
    return sum(true == guess for true, guess in zip(truth, predicted, strict=True)) / len(truth)


def wilson(num_right: int, num_rows: int) -> tuple[float, float]:
    """The 95 % interval of a share.

    >>> [round(bound, 3) for bound in wilson(1920, 2000)]
    [0.95, 0.968]
    """
    share, spread = num_right / num_rows, _Z95**2 / num_rows
    centre = (share + spread / 2) / (1 + spread)
    half = _Z95 * math.sqrt(share * (1 - share) / num_rows + spread / (4 * num_rows)) / (1 + spread)
    return centre - half, centre + half


def per_label(truth: Sequence[str], predicted: Sequence[str]) -> dict[str, dict[str, float]]:
    """Precision, recall, f1 and support of each label seen; 0 where a figure has no rows to stand on.

    >>> per_label(["a", "a", "b"], ["a", "b", "b"])["a"]
    {'precision': 1.0, 'recall': 0.5, 'f1': 0.6666666666666666, 'support': 2}
    """
    hits = Counter(true for true, guess in zip(truth, predicted, strict=True) if true == guess)
    support, guesses = Counter(truth), Counter(predicted)
    found: dict[str, dict[str, float]] = {}
    for label in sorted(support.keys() | guesses.keys()):
        precision = hits[label] / guesses[label] if guesses[label] else 0.0
        recall = hits[label] / support[label] if support[label] else 0.0
        f1 = 2 * precision * recall / (precision + recall) if hits[label] else 0.0
        found[label] = {"precision": precision, "recall": recall, "f1": f1, "support": support[label]}
    return found


def confusion(truth: Sequence[str], predicted: Sequence[str]) -> dict[str, dict[str, int]]:
    """True label -> predicted label -> rows; pairs that did not occur are left out.

    >>> confusion(["a", "a"], ["a", "b"])
    {'a': {'a': 1, 'b': 1}}
    """
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for true, guess in zip(truth, predicted, strict=True):
        counts[true][guess] += 1
    return {true: dict(sorted(counts[true].items())) for true in sorted(counts)}


def by_source(truth: Sequence[str], predicted: Sequence[str], sources: Sequence[str | None]) -> dict[str, float]:
    """Accuracy within each label and source (`code/mmlu`), of the rows that name a source."""
    right: defaultdict[str, list[bool]] = defaultdict(list)
    for true, guess, source in zip(truth, predicted, sources, strict=True):
        if source is not None:
            right[f"{true}/{source}"].append(true == guess)
    return {group: sum(hits) / len(hits) for group, hits in sorted(right.items())}


def expected_calibration_error(right: Sequence[bool], probability: Sequence[float]) -> float:
    """Mean gap between stated probability and share right, over ten equal-width bins weighted by rows.

    >>> expected_calibration_error([True, True, False, True], [0.75, 0.75, 0.75, 0.75])
    0.0
    """
    stated, hits = np.asarray(probability, dtype=np.float64), np.asarray(right, dtype=np.float64)
    bins = np.minimum((stated * _BINS).astype(int), _BINS - 1)
    gap = sum(abs(hits[bins == b].sum() - stated[bins == b].sum()) for b in range(_BINS))
    return float(gap / len(hits))


def precision_at_prior(
    recalls: dict[str, dict[str, int]], prior: dict[str, float], labels: Sequence[str]
) -> dict[str, float]:
    """Precision of each label if traffic had the shares `prior`; `recalls` is a `confusion` table.

    Half of 10 % legal and 1 of 100 general rows called legal, at 70 % general and 10 % legal traffic:

    >>> table = {"legal": {"legal": 5, "general": 5}, "general": {"legal": 1, "general": 99}}
    >>> round(precision_at_prior(table, {"legal": 0.1, "general": 0.7}, ["legal"])["legal"], 3)
    0.877
    """

    def rate(true: str, guess: str) -> float:
        row = recalls.get(true, {})
        return row.get(guess, 0) / sum(row.values()) if row else 0.0

    found = {}
    for label in labels:
        called = sum(share * rate(true, label) for true, share in prior.items())
        found[label] = prior.get(label, 0.0) * rate(label, label) / called if called else 0.0
    return found


def summary(
    truth: Sequence[str], predicted: Sequence[str], probability: Sequence[float], sources: Sequence[str | None]
) -> dict[str, Any]:
    """The figures together; `macro_source` is there where rows name a source."""
    right = [true == guess for true, guess in zip(truth, predicted, strict=True)]
    found: dict[str, Any] = {
        "accuracy": accuracy(truth, predicted),
        "accuracy_95": list(wilson(sum(right), len(right))),
        "rows": len(right),
        "per_label": per_label(truth, predicted),
        "ece": expected_calibration_error(right, probability),
        "confusion": confusion(truth, predicted),
    }
    groups = by_source(truth, predicted, sources)
    if groups:
        found["by_source"] = groups
        found["macro_source"] = sum(groups.values()) / len(groups)
    return found
