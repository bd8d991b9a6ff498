"""Queries that both models have answered: JSONL rows {"text", "small_right", "large_right"}, plain or .gz."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serve_app.core import DataError
from serve_app.labelling.lines import read_lines
from serve_app.training.cascade.outcomes import LabelledAttempt

Share = Annotated[float, Field(ge=0, le=1)]
Text = Annotated[str, Field(min_length=1)]


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class GainRow(_Row):
    """One query with the judgement of both models' answers."""

    text: Text
    small_right: Share
    large_right: Share
    id: str | None = None
    """Repeated beside the row's held-out probability."""
    group: str | None = None
    """Rows of one group (a customer, a subject) are held out together, where rows name groups."""


class QueryText(_Row):
    """The text of a labelled attempt."""

    id: Text
    text: Text


_Kind = TypeVar("_Kind", GainRow, QueryText)


def read_gain_rows(path: Path) -> list[GainRow]:
    """All rows, blank lines skipped. Raises DataError that names file, line and field."""
    return list(_rows(path, GainRow, '{"text", "small_right", "large_right"}'))


def read_texts(path: Path) -> dict[str, str]:
    """Text of each id, from rows {"id", "text"}. Raises DataError that names file, line and field."""
    found: dict[str, str] = {}
    for row in _rows(path, QueryText, '{"id", "text"}'):
        if found.setdefault(row.id, row.text) != row.text:
            raise DataError(f"{path}: id {row.id!r} has two texts; give each query its own id.")
    return found


def join_texts(attempts: Sequence[LabelledAttempt], texts: Mapping[str, str]) -> list[GainRow]:
    """The attempts whose large answer was judged, as rows; the others cannot teach what the large model gains.

    Raises DataError where an attempt has no text or no attempt was judged.

    A group is not set: attempts of one route are no group, the pre-router serves all of them.
    """
    found = []
    for attempt in attempts:
        if attempt.large_right is None:
            continue
        if attempt.id not in texts:
            raise DataError(f'No text for the attempt {attempt.id!r}: add a row {{"id", "text"}} for it.')
        row = GainRow(
            text=texts[attempt.id],
            small_right=attempt.small_right,
            large_right=attempt.large_right,
            id=attempt.id,
        )
        found.append(row)
    if not found:
        raise DataError('No attempt has "large_right": the pre-router learns from queries that both models answered.')
    return found


def _rows(path: Path, kind: type[_Kind], wanted: str) -> Iterator[_Kind]:
    for line in read_lines(path, wanted):
        try:
            yield kind.model_validate_json(line.data)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or "row"
            raise DataError(f"{path}, line {line.number}: {field}: {first['msg']}.") from error
