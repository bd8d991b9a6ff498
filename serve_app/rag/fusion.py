"""Two rankings into one."""

from __future__ import annotations

from collections.abc import Mapping

TEXT_WEIGHT = 0.3
"""Chosen on the validation questions of `bench/rag/choices.py`, where it beats reciprocal rank fusion."""


def fused(
    cosines: Mapping[int, float], bm25: Mapping[int, float], weight: float = TEXT_WEIGHT
) -> list[tuple[int, float]]:
    """Rows with their scores, best first: cosine + `weight` x BM25 / the best BM25.

    A convex combination of scores (Bruch, Gai and Ingber 2023), each on a scale that does not depend on the collection.
    A row that is not among the nearest gets the cosine of the last of them, which is the most it can have; one that
    is not among the best by words gets no share of BM25. With one ranking only, its own scores.

    >>> fused({1: 0.8, 2: 0.7}, {2: 20.0, 3: 30.0})
    [(3, 1.0), (2, 0.8999999999999999), (1, 0.8)]
    """
    if not cosines or not bm25:
        return _sorted({**cosines, **bm25})
    lowest, best = min(cosines.values()), max(bm25.values())
    rows = [*cosines, *(row for row in bm25 if row not in cosines)]
    return _sorted({row: cosines.get(row, lowest) + weight * bm25.get(row, 0.0) / best for row in rows})


def _sorted(scores: Mapping[int, float]) -> list[tuple[int, float]]:
    return sorted(scores.items(), key=lambda item: -item[1])
