"""Labelled pairs of questions: does the stored question's answer answer the other one too? JSONL, plain or .gz."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serve_app.cache.likeness import signature
from serve_app.cache.lookup import normalised
from serve_app.cache.neighbours import Vector
from serve_app.cache.vectors import VectorMaker
from serve_app.core import DataError, Message

FloatArray = np.ndarray[Any, np.dtype[np.float64]]

RowT = TypeVar("RowT", bound=BaseModel)

NEVER = -1.0
"""Similarity of questions that are never taken for one another, below every threshold."""


class Pair(BaseModel):
    """A question and the question asked before whose answer it would be given. Other fields are left aside."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    question: str = Field(min_length=1)
    stored: str = Field(min_length=1)
    same: bool
    """The stored question's answer is a right answer to `question`."""


def read_pairs(path: Path) -> list[Pair]:
    """The pairs of a file; see `read_rows`."""
    return read_rows(path, Pair, '{"question", "stored", "same"}')


def read_rows(path: Path, kind: type[RowT], shape: str) -> list[RowT]:
    """All rows in order, blank lines skipped. `shape`: of a row, for people.

    Raises DataError naming file, line and field on the first bad row, or where there are none.
    """
    try:
        data = path.read_bytes()
        lines = (gzip.decompress(data) if path.suffix == ".gz" else data).split(b"\n")
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error}); give a JSONL file, plain or .gz.") from error
    found = [_row(kind, line, f"{path}:{number}") for number, line in enumerate(lines, start=1) if line.strip()]
    if not found:
        raise DataError(f"{path} holds no rows; write one {shape} a line.")
    return found


def _row(kind: type[RowT], line: bytes, place: str) -> RowT:
    try:
        return kind.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{place}: {field or 'row'}: {first['msg']}.") from error


def similarities(pairs: Sequence[Pair], maker: VectorMaker) -> FloatArray:
    """The cosine of each pair as the cache would see it, shape (num_pairs,); NEVER where it would not compare them.

    Each text is encoded once.
    """
    texts = {_text(text): None for pair in pairs for text in (pair.question, pair.stored)}
    vectors = dict(zip(texts, maker.vectors(list(texts)), strict=True))
    return np.array([_similarity(_text(pair.question), _text(pair.stored), vectors) for pair in pairs])


def _similarity(question: str, stored: str, vectors: dict[str, Vector | None]) -> float:
    one, other = vectors[question], vectors[stored]
    if one is None or other is None or signature(question) != signature(stored):
        return NEVER
    return float(one @ other)


def _text(question: str) -> str:
    return normalised(Message("user", question))
