"""What was chosen on validation questions: the share of words in a hybrid score, and the curve of `fit`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.rag.sets import VALIDATION, Question, RetrievalSet
from serve_app.catalogue import resolve
from serve_app.rag import fusion
from serve_app.rag.collection import Collection
from serve_app.rag.database import Database
from serve_app.rag.embedding import ChunkEncoder, TextEncoder
from serve_app.rag.filters import visible

Ranking = Mapping[int, float]
_DEPTH = 50
_WEIGHTS = (0.1, 0.2, 0.3, 0.4, 0.6)
_RANK_OFFSET = 60
_PASSAGES = 6
_FOREIGN = {"medquad": "tatqa", "pubmedqa": "tatqa", "tatqa": "medquad"}
"""Whose questions the documents of a set surely do not answer."""


@dataclass(frozen=True, slots=True)
class _Found:
    """Both rankings of a question, and the documents of their rows."""

    question: Question
    cosines: Ranking
    bm25: Ranking
    names: Mapping[int, str]

    def documents(self, ranked: Sequence[int]) -> list[str]:
        return list(dict.fromkeys(self.names[row] for row in ranked))


def choices(folder: str, sets: Sequence[RetrievalSet]) -> dict[str, Any]:
    """Of the collections in `folder`: recall@10 by rule, and the logistic regression of `fit`."""
    encoder, database = ChunkEncoder(resolve("all-minilm-l6-v2").path, 2), Database(folder)
    by_name = {each.name: each for each in sets}
    own = {name: list(_found(database.open(name), each, encoder)) for name, each in by_name.items()}
    foreign = {name: list(_found(database.open(name), by_name[other], encoder)) for name, other in _FOREIGN.items()}
    recalls = {rule: _recall(own, rank) for rule, rank in _rules().items()}
    return {"recall_at_10_by_fusion": recalls, "fit": _fit(own, foreign)}


def _found(table: Collection, asked: RetrievalSet, encoder: TextEncoder) -> Iterator[_Found]:
    for question in asked.questions:
        if question.split == VALIDATION[asked.name]:
            vector, where = encoder.encode([question.text])[0], visible(None, {})
            cosines = table.by_vector(vector, where, _DEPTH).result()
            bm25 = table.by_text(question.text, where, _DEPTH).result()
            rows = table.rows([*{**cosines, **bm25}])
            yield _Found(question, cosines, bm25, {row: each["document_id"] for row, each in rows.items()})


def _rules() -> dict[str, Callable[[Ranking, Ranking], list[int]]]:
    def weighted(weight: float) -> Callable[[Ranking, Ranking], list[int]]:
        return lambda cosines, bm25: [row for row, _ in fusion.fused(cosines, bm25, weight)]

    return {"reciprocal rank": _reciprocal_rank} | {f"weight {weight}": weighted(weight) for weight in _WEIGHTS}


def _reciprocal_rank(*rankings: Ranking) -> list[int]:
    """Cormack, Clarke and Buettcher 2009: the rule that was not taken."""
    scores: dict[int, float] = {}
    for ranking in rankings:
        for rank, row in enumerate(ranking, start=1):
            scores[row] = scores.get(row, 0.0) + 1 / (_RANK_OFFSET + rank)
    return sorted(scores, key=lambda row: -scores[row])


def _recall(found: Mapping[str, Sequence[_Found]], rank: Callable[[Ranking, Ranking], list[int]]) -> float:
    """Recall@10, the mean over sets."""
    means = []
    for each in found.values():
        shares = [
            len(one.question.relevant & set(one.documents(rank(one.cosines, one.bm25))[:10]))
            / len(one.question.relevant)
            for one in each
        ]
        means.append(np.mean(shares))
    return round(float(np.mean(means)), 4)


def _fit(own: Mapping[str, Sequence[_Found]], foreign: Mapping[str, Sequence[_Found]]) -> dict[str, float]:
    """Whether a document that answers is among the first passages, by the best cosine; each set weighs the same."""
    from sklearn.linear_model import LogisticRegression

    best, answered, weights = [], [], []
    for found, is_own in ((own, True), (foreign, False)):
        for each in found.values():
            for one in each:
                first = [row for row, _ in fusion.fused(one.cosines, one.bm25)][:_PASSAGES]
                best.append([max(one.cosines.values())])
                answered.append(is_own and bool(one.question.relevant & set(one.documents(first))))
                weights.append(1 / len(each))
    model = LogisticRegression(C=1e6).fit(best, answered, weights)
    slope = float(model.coef_[0][0])
    return {"slope": round(slope, 2), "midpoint": round(-float(model.intercept_[0]) / slope, 3)}
