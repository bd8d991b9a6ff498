"""The figures of an estimate, with what cannot be said from so few requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from serve_app.cli.estimating.costs import Costs, IntArray
from serve_app.cli.estimating.outcome import Failed, Refused, Tried
from serve_app.confidence.risk import clopper_pearson_upper, fewest_accepted
from serve_app.ledger.public import usd

BoolArray = np.ndarray[Any, np.dtype[np.bool_]]

DELTA = 0.05
"""The risk is above its bound with at most this probability."""
_ALPHA = 0.05
"""A risk that a bound should at least be able to rule out."""
_NUM_DRAWS = 2000
_FEW = 100
"""Requests below which the interval of a saving says little."""


def figures(
    tried: Sequence[Tried],
    refused: Sequence[Refused],
    failed: Sequence[Failed],
    scores: Sequence[float | None],
    costs: Costs,
    seed: int = 0,
) -> dict[str, Any]:
    """All figures, as JSON has them. `scores`: agreement of the accepted answer with the large one, None: not known."""
    routes = [one.route for one in tried]
    masks = {
        route: np.array([other == route for other in routes], dtype=bool) for route, _ in Counter(routes).most_common()
    }
    everything = np.ones(len(tried), dtype=bool)
    total = _part(tried, scores, costs, everything, seed)
    parts = {route or "unrouted": _part(tried, scores, costs, mask, seed) for route, mask in masks.items()}
    reasons = Counter(one.reason for one in refused)
    found = {
        "queries": len(tried),
        "refused": {"queries": len(refused), "reasons": dict(reasons.most_common())},
        "failed": len(failed),
        "total": total,
        "routes": parts,
        "large_tokens_from": dict(Counter(costs.basis)),
    }
    return {**found, "warnings": _warnings(found, failed)}


def saving_interval(now: IntArray, headrace: IntArray, seed: int = 0) -> tuple[float, float] | None:
    """95 % percentile bootstrap over requests of the saved share; None where nothing costs anything.

    >>> saving_interval(np.array([100, 100]), np.array([40, 40]))
    (0.6, 0.6)
    """
    if now.sum() == 0:
        return None
    random = np.random.default_rng(seed)
    saved = []
    for _ in range(_NUM_DRAWS):
        rows = random.integers(0, len(now), len(now))
        spent = now[rows].sum()
        if spent:
            saved.append(1 - headrace[rows].sum() / spent)
    low, high = np.quantile(saved, [0.025, 0.975])
    return round(float(low), 12), round(float(high), 12)


def _part(
    tried: Sequence[Tried], scores: Sequence[float | None], costs: Costs, mask: BoolArray, seed: int
) -> dict[str, Any]:
    rows: list[int] = np.flatnonzero(mask).tolist()
    accepted = [row for row in rows if tried[row].accepted]
    compared = [score for row in accepted if (score := scores[row]) is not None]
    differing = sum(score < 0.5 for score in compared)
    now, headrace = costs.now[rows], costs.headrace[rows]
    return {
        "queries": len(rows),
        "share": len(rows) / len(tried) if tried else None,
        "accepted_share": len(accepted) / len(rows) if len(rows) else None,
        "escalated_share": 1 - len(accepted) / len(rows) if len(rows) else None,
        "cost_now_usd": usd(int(now.sum())),
        "cost_usd": usd(int(headrace.sum())),
        "saved_share": float(1 - headrace.sum() / now.sum()) if now.sum() else None,
        "saved_share_95": saving_interval(now, headrace, seed),
        "compared": len(compared),
        "differing": differing,
        "risk": differing / len(compared) if compared else None,
        "risk_upper_95": clopper_pearson_upper(differing, len(compared), DELTA) if compared else None,
    }


def _warnings(found: dict[str, Any], failed: Sequence[Failed]) -> list[str]:
    """What the figures cannot say, a sentence each."""
    said = []
    if failed:
        said.append(f"{len(failed)} of the requests failed and are left out, the first because: {failed[0].error}")
    refused, num_tried = found["refused"]["queries"], found["queries"]
    if refused:
        share = refused / (refused + num_tried)
        said.append(
            f"{refused} of the requests ({share:.0%}) are refused and would stay where they are; see `refused`."
        )
    if num_tried < _FEW:
        said.append(f"Only {num_tried} requests: take {_FEW} or more before you trust the saving.")
    if not found["total"]["compared"]:
        said.append("The risk is unknown: no accepted answer could be compared. Log responses, or add --run-large.")
    else:
        needed = fewest_accepted(_ALPHA, DELTA)
        said += [
            f"{name}: only {part['compared']} accepted answers were compared; even if none differed, a risk of "
            f"{_ALPHA:.0%} could be ruled out from {needed} on."
            for name, part in found["routes"].items()
            if 0 < part["compared"] < needed
        ]
    if estimated := found["large_tokens_from"].get("estimated"):
        said.append(
            f"The tokens of {estimated} large answers are estimated from their length; log `usage` to know them."
        )
    return said
