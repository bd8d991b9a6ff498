"""Pairs to label, from a log of questions: what the semantic cache would have compared, had it been on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from serve_app.cache.likeness import signature
from serve_app.cache.lookup import normalised
from serve_app.cache.neighbours import Neighbours
from serve_app.cache.pairs import read_rows
from serve_app.cache.vectors import VectorMaker
from serve_app.core import Message


class Asked(BaseModel):
    """One question of a log. Other fields are left aside."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    question: str = Field(min_length=1)
    answer: str | None = None


def read_questions(path: Path) -> list[Asked]:
    """The questions of a log; see `read_rows`."""
    return read_rows(path, Asked, '{"question"}')


def nearest_before(asked: Sequence[Asked], maker: VectorMaker, least: float) -> Iterator[dict[str, object]]:
    """Each question with the nearest one before it, where their cosine is at least `least`.

    A question that was asked before word for word makes no pair: the exact cache answers it.
    """
    texts = [normalised(Message("user", one.question)) for one in asked]
    known, first_of = Neighbours(len(asked)), {}
    for index, (text, vector) in enumerate(zip(texts, maker.vectors(texts), strict=True)):
        if vector is None or text in first_of:
            continue
        first_of[text] = index
        context = repr(signature(text))
        near = known.nearest(context, vector)
        if near is not None and near[1] >= least:
            yield _row(asked[index], asked[int(near[0])], near[1])
        known.add(context, str(index), vector)


def _row(one: Asked, stored: Asked, similarity: float) -> dict[str, object]:
    row: dict[str, object] = {"question": one.question, "stored": stored.question, "similarity": round(similarity, 4)}
    if stored.answer is not None:
        row |= {"answer": one.answer, "stored_answer": stored.answer}
    return {**row, "same": None}
