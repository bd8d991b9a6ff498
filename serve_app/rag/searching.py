"""A search of a collection: two rankings, fused, and their best rows as passages."""

from __future__ import annotations

import time
from concurrent.futures import wait

import numpy as np
import numpy.typing as npt

from serve_app.core import RequestError, Retrieval, RetrieverError, Search
from serve_app.rag.collection import Collection
from serve_app.rag.embedding import TextEncoder
from serve_app.rag.filters import labelled, visible
from serve_app.rag.fit import fit
from serve_app.rag.fusion import fused
from serve_app.rag.rerank import RERANKED, reranked
from serve_app.rag.rows import passage

MAX_LIMIT = 200
_DEPTH = 50
"""Rows of each ranking that are fused; more where more are asked for."""
_MAX_QUESTION_CHARS = 8_000


def retrieval(search: Search, table: Collection, encoder: TextEncoder, started: float) -> Retrieval:
    """What `search` finds in `table`. `started`: when it began, by `time.perf_counter`. Raises RequestError.

    Raises RetrieverError for a collection that can be searched neither by vectors nor by words.
    """
    _check(search)
    question = search.text[:_MAX_QUESTION_CHARS]
    by_vector, by_text, remarks = _means(search, table, encoder)
    where, depth = _where(search, table), max(_DEPTH, search.limit)
    bm25 = table.by_text(question, where, depth) if by_text else None
    try:  # while words are searched
        vector = encoder.encode([question])[0] if table.encoder_digest == encoder.digest else None
        cosines = table.by_vector(vector, where, depth).result() if by_vector and vector is not None else {}
    finally:
        if bm25 is not None:
            wait([bm25])  # no query outlives its search
    ranked = fused(cosines, {} if bm25 is None else bm25.result())
    looked_at = max(search.limit, RERANKED) if search.rerank else search.limit
    rows = table.rows([row for row, _ in ranked[:looked_at]]) if ranked else {}
    if search.rerank and vector is not None and ranked:
        texts = {row: each["content"][each["body_start"] :] for row, each in rows.items()}
        ranked = reranked(ranked, texts, vector, encoder)
    passages = tuple(
        passage(rows[row], search.collection, score, None if vector is None else _cosine(rows[row]["vector"], vector))
        for row, score in ranked[: search.limit]
    )
    best = max((each.similarity for each in passages if each.similarity is not None), default=None)
    return Retrieval(
        passages=passages,
        fit=0.0 if best is None else fit(best),
        version=table.version,
        busy_s=time.perf_counter() - started,
        remarks=remarks,
    )


def _where(search: Search, table: Collection) -> str:
    """Rows that may be found. Owners are not compared where there are none, which takes time for each query."""
    return labelled(search.where) if table.only_everybodys else visible(search.key_id, search.where)


def _means(search: Search, table: Collection, encoder: TextEncoder) -> tuple[bool, bool, tuple[str, ...]]:
    """Whether to search by vectors and by words; and what the search has to do without."""
    has_vectors, has_words = table.encoder_digest == encoder.digest, table.has_text_index
    if not has_vectors and not has_words:
        raise RetrieverError(f"Collection {table.name!r} cannot be searched: drop it and ingest its documents again.")
    remarks = []
    if not has_vectors:
        remarks.append(
            f"Collection {table.name!r} was made with another encoder, so that only its words were searched."
        )
    if not has_words and search.mode != "vector":
        remarks.append(f"Collection {table.name!r} has no index of words yet, so that only its vectors were searched.")
    by_vector = has_vectors and (search.mode != "text" or not has_words)
    by_text = has_words and (search.mode != "vector" or not has_vectors)
    return by_vector, by_text, tuple(remarks)


def _cosine(stored: npt.NDArray[np.float32], vector: npt.NDArray[np.float32]) -> float:
    return float(np.clip(stored @ vector, -1, 1))


def _check(search: Search) -> None:
    if not search.text.strip():
        raise RequestError("The text to search for is empty.", "text")
    if not 1 <= search.limit <= MAX_LIMIT:
        raise RequestError(f"`limit` must be 1 to {MAX_LIMIT}.", "limit")
