"""Measures a router on labelled queries: what it gets right, how well calibrated it is, how long a query takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from serve_app.core import RouteScore
from serve_app.router.domain import DomainRouter
from serve_app.router.metrics import summary
from serve_app.router.rows import Row

_WARM_UP = 5


def evaluate(router: DomainRouter, rows: Sequence[Row], on_row: Callable[[], object] | None = None) -> dict[str, Any]:
    """The figures of `metrics.summary` plus p50_ms and p99_ms of one text at a time, nothing cached.

    `ece` judges the probability of the label that was given, or of the best candidate where the floor spoke.
    """
    router.score_texts([row.text for row in rows[:_WARM_UP]])
    scores: list[RouteScore] = []
    took_ms: list[float] = []
    for row in rows:
        started_s = time.perf_counter()
        scores += router.score_texts([row.text])
        took_ms.append((time.perf_counter() - started_s) * 1e3)
        if on_row is not None:
            on_row()
    found = summary(
        [row.label for row in rows],
        [score.label for score in scores],
        [score.probability for score in scores],
        [row.source for row in rows],
    )
    p50_ms, p99_ms = np.percentile(took_ms, [50, 99])
    return found | {"p50_ms": float(p50_ms), "p99_ms": float(p99_ms)}
