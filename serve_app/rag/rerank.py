"""The best passages in order once more, by their nearest sentence: a passage may be long and its answer short."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from serve_app.rag.embedding import TextEncoder
from serve_app.rag.sentences import lines, sentences

RERANKED = 20
"""Passages that are looked at; those behind them keep their order."""
_SENTENCE_WEIGHT = 0.3
"""Of the nearest sentence's cosine, added to the score so far; chosen on validation questions."""
_MAX_SENTENCES = 12
"""Of a passage; each costs a run of the encoder."""


def reranked(
    ranked: Sequence[tuple[int, float]],
    texts: Mapping[int, str],
    question: npt.NDArray[np.float32],
    encoder: TextEncoder,
) -> list[tuple[int, float]]:
    """Rows of `ranked` (row, score) with new scores, best first. `texts` has those of the first RERANKED."""
    first, rest = ranked[:RERANKED], ranked[RERANKED:]
    parts = [_parts(texts[row]) for row, _ in first]
    vectors = encoder.encode([part for each in parts for part in each])
    scores, at = [], 0
    for (row, score), each in zip(first, parts, strict=True):
        nearest = float(np.max(vectors[at : at + len(each)] @ question))
        scores.append((row, score + _SENTENCE_WEIGHT * nearest))
        at += len(each)
    return [*sorted(scores, key=lambda item: -item[1]), *rest]


def _parts(text: str) -> list[str]:
    """Sentences and lines; never none."""
    spans = [span for line in lines(text, 0, len(text)) for span in sentences(text, *line)]
    return [text[start:end] for start, end in spans[:_MAX_SENTENCES]] or [text]
