"""Labelled pairs of questions: does the stored question's answer answer the other one too? JSONL, plain or .gz."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serve_app.cache.likeness import signature
from serve_app.cache.lookup import normalised
from serve_app.cache.neighbours import Vector
from serve_app.core import DataError, Message

FloatArray = np.ndarray[Any, np.dtype[np.float64]]

NEVER = -1.0
"""Similarity of questions that are never taken for one another, below every threshold."""


class VectorMaker(Protocol):
    """Makes many vectors at once."""

    def vectors(self, texts: Sequence[str]) -> Sequence[Vector | None]:
        """Of each text as `VectorSource.vector`, in order."""
        ...


class Pair(BaseModel):
    """A question and the question asked before whose answer it would be given. Other fields are left aside."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    question: str = Field(min_length=1)
    stored: str = Field(min_length=1)
    same: bool
    """The stored question's answer is a right answer to `question`."""


def read_pairs(path: Path) -> list[Pair]:
    """All rows in order. Raises DataError naming file, line and field on the first bad one, or where there are none."""
    found = [_parse(line, source) for source, line in lines_of(path)]
    if not found:
        raise DataError(f'{path} holds no rows; write one {{"question", "stored", "same"}} a line.')
    return found


def lines_of(path: Path) -> list[tuple[str, bytes]]:
    """The lines that are not blank, each with its place for messages. Raises DataError where there is no such file."""
    try:
        data = path.read_bytes()
        lines = (gzip.decompress(data) if path.suffix == ".gz" else data).split(b"\n")
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error}); give a JSONL file, plain or .gz.") from error
    return [(f"{path}:{number}", line) for number, line in enumerate(lines, start=1) if line.strip()]


def _parse(line: bytes, source: str) -> Pair:
    try:
        return Pair.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{source}: {field or 'row'}: {first['msg']}.") from error


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
