"""Bootstrap over rows: how far a figure, or the difference of two routers on the same rows, may be chance.

It resamples the rows a router was tried on; what other training rows would have changed is seen in the spread over fold
seeds, which is reported beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bench.routing.outcomes import Outcomes
from serve_app.confidence.model import FloatArray
from serve_app.training.gain import curve
from serve_app.training.gain.regression import IntArray


def figures(outcomes: Outcomes, scores: Mapping[str, FloatArray], rows: IntArray, draws: int) -> dict[str, Any]:
    """Each router's APGR, CPT(50 %) and CPT(80 %) with 95 % intervals, all on the same draws; scores (len(rows),).

    `ours_minus` is the paired difference in APGR of `ours`, where it is among them, and each other router.
    """
    small, large = outcomes.small[rows], outcomes.large[rows]
    drawn = {name: np.empty((draws, 3)) for name in scores}
    random = np.random.default_rng(0)
    for draw in range(draws):
        some = random.integers(0, len(rows), len(rows))
        for name, score in scores.items():
            drawn[name][draw] = _three(score[some], small[some], large[some])
    found: dict[str, Any] = {}
    for name, score in scores.items():
        values = zip(("apgr", "cpt50", "cpt80"), _three(score, small, large), drawn[name].T, strict=True)
        found[name] = {}
        for figure, value, spread in values:
            found[name] |= {figure: value, f"{figure}_95": _interval(spread)}
        if "ours" in scores and name != "ours":
            found[name]["ours_minus"] = outcomes.apgr(scores["ours"], rows) - found[name]["apgr"]
            found[name]["ours_minus_95"] = _interval(drawn["ours"][:, 0] - drawn[name][:, 0])
    return found


def _three(score: FloatArray, small: FloatArray, large: FloatArray) -> tuple[float, float, float]:
    """NaN where a draw has the strong model no better, as may happen with the 72 rows of MT Bench."""
    points = curve(score, small, large)
    return tuple(np.nan if value is None else value for value in (points.apgr, points.cpt(0.5), points.cpt(0.8)))  # type: ignore[return-value]


def _interval(values: FloatArray) -> list[float]:
    return [float(bound) for bound in np.nanquantile(values, [0.025, 0.975])]
