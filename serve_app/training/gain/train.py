"""From labelled queries to a calibrated pre-router: encode, hold out, choose the strength, calibrate, fit on all."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sklearn

from serve_app import __version__
from serve_app.confidence.gain import GainModel
from serve_app.confidence.metrics import auroc, brier, expected_calibration_error
from serve_app.confidence.model import FloatArray, Platt
from serve_app.core import DataError
from serve_app.router.domain import TextEncoder
from serve_app.router.text import clip
from serve_app.training.gain.metrics import curve
from serve_app.training.gain.regression import STRENGTHS, IntArray, Views, fit, strongest_of_the_best, views
from serve_app.training.gain.rows import GainRow

NUM_FOLDS = 5
LEAST_ROWS = 100
LEAST_OF_A_KIND = 10
"""Rows needed of those where the large model helps and of those where it does not."""

Progress = Callable[[str, int, int], object]
"""Stage, steps done, steps in all."""


@dataclass(frozen=True, eq=False)
class Trained:
    """A pre-router and what it would have said of each training row had it not seen it."""

    model: GainModel
    held_out: FloatArray
    """(num_rows,), probabilities; what a labelled log may hold as `gain`."""


def encoded(rows: Sequence[GainRow], encoder: TextEncoder, on_progress: Progress | None = None) -> Views:
    """The rows as the router will see them."""
    report = on_progress or _silent
    texts = [clip(row.text) for row in rows]
    vectors = []
    for done, text in enumerate(texts):
        report("encode", done, len(texts))
        vectors.append(encoder.encode([text])[0])
    report("encode", len(texts), len(texts))
    return views(texts, np.stack(vectors))


def fit_gain(
    rows: Sequence[GainRow], seen: Views, encoder_digest: str, seed: int, on_progress: Progress | None = None
) -> Trained:
    """The pre-router for these rows, which `encoded` gives as `seen`. Same rows, encoder and seed: same model.

    Raises DataError where the rows are too few, or nearly all alike in whether the large model helps.
    """
    report = on_progress or _silent
    small, large = (np.array([getattr(row, name) for row in rows]) for name in ("small_right", "large_right"))
    helped = large * (1 - small)
    _check(helped)
    folds = _folds(rows, large - small, seed)
    scores, strength = _held_out(seen, large - small, folds, seed, report)
    crossed = np.empty(len(rows))
    for fold in range(NUM_FOLDS):
        out = folds == fold
        crossed[out] = platt(scores[~out], helped[~out]).probability(scores[out])
    final = fit(seen, large - small, [strength], seed)[0]
    report("fit", NUM_FOLDS + 1, NUM_FOLDS + 1)
    card = {
        "rows": len(rows),
        "groups": len({row.group for row in rows if row.group is not None}),
        "rows_sha256": hashlib.sha256("\n".join(row.model_dump_json() for row in rows).encode()).hexdigest(),
        "small_right": float(small.mean()),
        "large_right": float(large.mean()),
        "helped": float(helped.mean()),
        "seed": seed,
        "strength": strength,
        "held_out": _figures(crossed, scores, helped, small, large),
        "versions": {"headrace": __version__, "numpy": np.__version__, "scikit-learn": sklearn.__version__},
    }
    model = GainModel(final.arrays, final.intercept, platt(scores, helped), encoder_digest, card)
    return Trained(model, crossed)


def platt(scores: FloatArray, helped: FloatArray) -> Platt:
    """The line from score to log-odds of `helped`, (num_rows,), 0 to 1; scores that tell nothing give the base rate."""
    from sklearn.linear_model import LogisticRegression

    middle, spread = float(scores.mean()), max(float(scores.std()), 1e-9)
    both = np.tile((scores - middle) / spread, 2)[:, None]
    kinds = np.repeat([1, 0], len(scores))
    line = LogisticRegression(C=1e6).fit(both, kinds, sample_weight=np.concatenate([helped, 1 - helped]))
    slope, offset = float(line.coef_[0, 0]) / spread, float(line.intercept_[0])
    if slope <= 0:
        base = float(np.clip(helped.mean(), 1e-6, 1 - 1e-6))
        return Platt(slope=1e-9, offset=float(np.log(base / (1 - base))))
    return Platt(slope=slope, offset=offset - slope * middle)


def _silent(stage: str, done: int, total: int) -> None:
    """Reports to nobody."""


def _check(helped: FloatArray) -> None:
    if len(helped) < LEAST_ROWS:
        raise DataError(f"{len(helped)} rows are too few for a pre-router: give at least {LEAST_ROWS}.")
    num_helped = int((helped >= 0.5).sum())
    if min(num_helped, len(helped) - num_helped) < LEAST_OF_A_KIND:
        raise DataError(
            f"The large model helps in {num_helped} of {len(helped)} rows: a pre-router needs at least "
            f"{LEAST_OF_A_KIND} where it does and {LEAST_OF_A_KIND} where it does not."
        )


def _folds(rows: Sequence[GainRow], gained: FloatArray, seed: int) -> IntArray:
    """Fold of each row: whole groups where all rows name one and there are enough, else spread by what was gained."""
    from sklearn.model_selection import GroupKFold, StratifiedKFold

    groups = [row.group for row in rows]
    found = np.empty(len(rows), dtype=np.intp)
    if None not in groups and len(set(groups)) >= NUM_FOLDS:
        parts = GroupKFold(NUM_FOLDS, shuffle=True, random_state=seed).split(gained, groups=groups)
    else:
        parts = StratifiedKFold(NUM_FOLDS, shuffle=True, random_state=seed).split(gained, np.round(gained))
    for fold, (_, held_out) in enumerate(parts):
        found[held_out] = fold
    return found


def _held_out(
    seen: Views, gained: FloatArray, folds: IntArray, seed: int, report: Progress
) -> tuple[FloatArray, float]:
    """Scores of each row from a fit without its fold, and the strength they are of."""
    scores = np.empty((len(STRENGTHS), len(seen)))
    for fold in range(NUM_FOLDS):
        report("fit", fold, NUM_FOLDS + 1)
        kept, out = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        for row, found in zip(scores, fit(seen.take(kept), gained[kept], STRENGTHS, seed), strict=True):
            row[out] = found.scores(seen.take(out))
    best = strongest_of_the_best((scores - gained) ** 2)
    return scores[best], STRENGTHS[best]


def _figures(
    probability: FloatArray, scores: FloatArray, helped: FloatArray, small: FloatArray, large: FloatArray
) -> dict[str, Any]:
    """Of rows that neither the regression nor the calibration has seen."""
    kind = helped >= 0.5
    points = curve(scores, small, large)
    return {
        "auroc": auroc(probability, kind),
        "ece": expected_calibration_error(probability, kind),
        "brier": brier(probability, kind),
        "apgr": points.apgr,
        "cpt50": points.cpt(0.5),
        "cpt80": points.cpt(0.8),
    }
