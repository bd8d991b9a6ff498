"""From labelled pairs to a similarity from which two questions count as one, with the risk control of the cascade.

Risk is the share of wrong answers among the hits. Learn-then-Test (confidence/risk.py) walks down a sequence of
thresholds that is fixed before the labels of the test part are seen, and stops at the first whose risk cannot be shown
to be at most alpha. Where it begins is settled by the pairs of the design part, which are not tested: at the number of
hits whose test is likeliest to pass.

The guarantee is about pairs drawn as the labelled ones were: draw them as hits happen, each question of your traffic
with the nearest one asked before. It ends when the questions, the encoder, or how much is stored change.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import bdtr
from scipy.stats import binom

from serve_app.cache.pairs import NEVER, FloatArray, Pair
from serve_app.confidence.risk import Chosen, choose, clopper_pearson_lower, fewest_accepted, labels_needed

BoolArray = np.ndarray[Any, np.dtype[np.bool_]]
IntArray = np.ndarray[Any, np.dtype[np.intp]]

DESIGN_SHARE = 1 / 3
"""Of the pairs: they settle where the tests begin."""
_FEWEST_TOLD = 10
"""Hits of a threshold whose risk is worth a guess."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A threshold that passed."""

    threshold: float
    num_labels: int
    """Pairs of the test part. Disjoint from design_labels."""
    design_labels: int
    num_hits: int
    """Of num_labels."""
    num_wrong: int
    """Included in num_hits."""
    risk_bound: float


@dataclass(frozen=True, slots=True)
class TooFew:
    """No threshold can be trusted."""

    num_labels: int
    """All pairs."""
    needed_labels: int | None
    """About how many pairs would do; None: at no number of them, by what these show."""


def fit(similarity: FloatArray, same: BoolArray, alpha: float, delta: float, design: BoolArray) -> Fitted | TooFew:
    """The threshold that gives most hits; all arrays (num_pairs,). `design` must not depend on `same`.

    >>> similarity, same = np.linspace(0.5, 1.0, 300), np.arange(300) >= 150
    >>> found = fit(similarity, same, 0.05, 0.1, np.arange(300) % 3 == 0)
    >>> round(found.threshold, 3), found.num_hits, found.num_wrong
    (0.747, 101, 1)
    """
    test = ~design
    thresholds = _every_threshold(similarity[test])
    accepts = similarity[test] > thresholds[:, None]
    num_hits = accepts.sum(axis=1)
    winnable = num_hits >= fewest_accepted(alpha, delta)
    thresholds, accepts, num_hits = thresholds[winnable], accepts[winnable], num_hits[winnable]
    if len(thresholds):
        begin = _begin(thresholds, num_hits, similarity[design], ~same[design], alpha, delta)
        found = choose(accepts[begin:], ~same[test], alpha, delta)
        if isinstance(found, Chosen):
            threshold = float(thresholds[begin + found.index])
            return Fitted(
                threshold, int(test.sum()), int(design.sum()), found.num_accepted, found.num_wrong, found.risk_bound
            )
    return TooFew(len(same), _needed(similarity, ~same, alpha, delta, float(test.mean()) if len(same) else 1.0))


def design_part(pairs: Sequence[Pair], seed: int) -> BoolArray:
    """Mask (num_pairs,), the first third by hash: the order of the pairs does not matter, and no label is looked at."""
    mask = np.zeros(len(pairs), dtype=bool)
    mask[_by_hash(pairs, seed)[: round(DESIGN_SHARE * len(pairs))]] = True
    return mask


def data_digest(pairs: Sequence[Pair]) -> str:
    """SHA-256 of the pairs with their labels, equal for every order of them."""
    lines = sorted(pair.model_dump_json() for pair in pairs)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _by_hash(pairs: Sequence[Pair], seed: int) -> IntArray:
    places = [hashlib.sha256(f"{seed}/{pair.question}\0{pair.stored}".encode()).digest() for pair in pairs]
    return np.array(sorted(range(len(pairs)), key=lambda index: places[index]), dtype=np.intp)


def _every_threshold(similarity: FloatArray) -> FloatArray:
    """All of the labelled pairs', falling. None goes below the least of them: nobody labelled what lies there."""
    return np.unique(similarity[similarity > NEVER])[::-1]


def _begin(
    thresholds: FloatArray, num_hits: IntArray, similarity: FloatArray, wrong: BoolArray, alpha: float, delta: float
) -> int:
    """Into `thresholds`: where the test is likeliest to pass by the risk that the design part shows there.

    One and a half imaginary hits, half of them wrong, keep a few lucky ones from promising too much.
    """
    hits = similarity > thresholds[:, None]
    expected_risk = ((hits & wrong).sum(axis=1) + 0.5) / (hits.sum(axis=1) + 1.5)
    most_wrong = binom.ppf(delta, num_hits, alpha) - 1  # one more would not pass
    chance = np.where(most_wrong < 0, 0.0, bdtr(np.maximum(most_wrong, 0), num_hits, expected_risk))
    return int(chance.argmax())


def _needed(similarity: FloatArray, wrong: BoolArray, alpha: float, delta: float, test_share: float) -> int | None:
    """About how many pairs in all would let some threshold pass; None: at no number of them.

    An estimate for people: it looks at all labels. Where no threshold seems to have a risk low enough, that may be bad
    luck: then the one whose risk may still be lowest, if it was halfway between its lower confidence bound and alpha.
    """
    accepts = similarity > _every_threshold(similarity)[:, None]
    num_hits = accepts.sum(axis=1)
    told = num_hits >= _FEWEST_TOLD
    if not told.any():
        return math.ceil(fewest_accepted(alpha, delta) / test_share)
    num_hits, num_wrong = num_hits[told], (accepts[told] & wrong).sum(axis=1)
    risk = (num_wrong + 0.5) / (num_hits + 1)
    if (risk < alpha).any():
        about = 1 / (np.where(risk < alpha, alpha - risk, np.nan) ** 2 * num_hits)
        best, guess = int(np.nanargmin(about)), float(risk[int(np.nanargmin(about))])
    else:
        counts = zip(num_wrong.tolist(), num_hits.tolist(), strict=True)
        least = [clopper_pearson_lower(few, count, delta) for few, count in counts]
        best = int(np.argmin(least))
        guess = (least[best] + alpha) / 2
    labels = labels_needed(alpha, delta, guess)
    if labels is None:
        return None
    enough = math.ceil(labels * len(wrong) / int(num_hits[best]) / test_share)
    return max(enough, len(wrong) + fewest_accepted(alpha, delta))
