"""How well passages are found: recall and nDCG of vectors, words and both, on public questions.

Each set is a collection of its own. A document counts as found at the place of its first passage. The quick run has the
documents and questions of the test splits only; the full one has all documents, and says on the validation splits how
vectors and words were put together, and how `fit` was fitted (bench/rag/choices.py).
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from bench.machine import DATA
from bench.rag.choices import choices
from bench.rag.sets import SPLITS, Question, RetrievalSet, load
from serve_app.catalogue import resolve
from serve_app.config.rag import RagSettings
from serve_app.core import Search, SearchMode
from serve_app.rag import Document
from serve_app.rag.store import DocumentStore

MODES: tuple[SearchMode, ...] = ("vector", "text", "hybrid")
_PASSAGES = 50


def measure(quick: bool) -> dict[str, Any]:
    """Recall@10 of each mode as the mean over sets, and the figures of each set."""
    sets = [load(DATA, name, ("test",) if quick else None) for name in SPLITS]
    with tempfile.TemporaryDirectory() as folder:
        store = opened(folder, threads=2)
        rows: list[dict[str, Any]] = []
        chunks, seconds = 0, 0.0
        for each in sets:
            report = store.ingest(documents_of(each), each.name, None)
            chunks, seconds = chunks + report.chunks, seconds + report.seconds
            rows += [row(store, each, mode, "test") for mode in MODES]
        found: dict[str, Any] = {"retrieval_sets": rows, "ingest_chunks_per_s": round(chunks / seconds, 1)}
        if not quick:
            rows += [row(store, each, "hybrid", "test", rerank=True) for each in sets]
            found["retrieval_choices"] = choices(folder, sets)
    return found | {f"recall_at_10_{mode}": _mean(rows, mode) for mode in MODES}


def opened(folder: str, threads: int) -> DocumentStore:
    """A store with the catalogue's encoder."""
    encoder, base = resolve("all-minilm-l6-v2").path, resolve("smollm2-135m-instruct").path
    return DocumentStore.open(RagSettings(), folder, encoder, base, threads)


def documents_of(wanted: RetrievalSet) -> list[Document]:
    """As they go into a store."""
    return [
        Document(document_id, text.encode(), media_type="text/plain") for document_id, text in wanted.documents.items()
    ]


def row(
    store: DocumentStore, wanted: RetrievalSet, mode: SearchMode, split: str, rerank: bool = False
) -> dict[str, Any]:
    """Figures of one mode on one set."""
    questions = [question for question in wanted.questions if question.split == split]
    ranked = []
    for question in questions:
        found = store.search(Search(question.text, wanted.name, mode=mode, limit=_PASSAGES, rerank=rerank))
        ranked.append(list(dict.fromkeys(passage.document_id for passage in found.passages)))
    figures = {f"recall_at_{k}": recall(ranked, questions, k) for k in (1, 5, 10)}
    counts = {"questions": len(questions), "documents": len(wanted.documents)}
    return {
        "set": wanted.name,
        "mode": f"{mode}, reranked" if rerank else mode,
        **counts,
        **figures,
        "ndcg_at_10": ndcg(ranked, questions),
    }


def recall(ranked: Sequence[Sequence[str]], questions: Sequence[Question], k: int) -> float:
    """The share of a question's documents that are among the first k, as the mean over questions."""
    shares = [
        len(each.relevant & set(found[:k])) / len(each.relevant) for found, each in zip(ranked, questions, strict=True)
    ]
    return round(float(np.mean(shares)), 4)


def ndcg(ranked: Sequence[Sequence[str]], questions: Sequence[Question], k: int = 10) -> float:
    """Normalised discounted cumulative gain (Jarvelin and Kekalainen 2002) of the first k, relevance being 0 or 1."""
    gains = []
    for found, each in zip(ranked, questions, strict=True):
        gain = sum(1 / np.log2(place + 2) for place, name in enumerate(found[:k]) if name in each.relevant)
        gains.append(gain / sum(1 / np.log2(place + 2) for place in range(min(k, len(each.relevant)))))
    return round(float(np.mean(gains)), 4)


def _mean(rows: Sequence[dict[str, Any]], mode: str) -> float:
    return round(float(np.mean([each["recall_at_10"] for each in rows if each["mode"] == mode])), 4)
