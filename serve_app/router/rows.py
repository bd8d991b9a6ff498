"""Labelled queries: JSONL rows {"text", "label"} with optional "source" and "weight"."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serve_app.core import DataError
from serve_app.core.texts import is_unicode


@dataclass(frozen=True, slots=True)
class Row:
    """One labelled query."""

    text: str
    label: str
    source: str | None = None
    """Where the text comes from; calibration and the macro-average go by it."""
    weight: float = 1.0
    """How much the row counts in training, > 0; ignored in evaluation."""


def read_rows(path: Path, labels: Collection[str] | None = None) -> list[Row]:
    """All rows of a file, blank lines skipped; with `labels`, any other label is an error.

    Raises DataError that names file, line and fault.
    """
    rows = [_row(text, where, labels) for text, where in _lines(path)]
    if not rows:
        raise DataError(f'{path} has no rows: write one JSON object {{"text": ..., "label": ...}} per line.')
    return rows


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """The non-blank lines with their place, `FILE, line N`."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror or error}.") from error
    for number, raw in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        where = f"{path}, line {number}"
        try:
            line = raw.decode("utf-8").strip()
        except UnicodeDecodeError as error:
            raise DataError(f"{where}: not UTF-8 text; save the file as UTF-8.") from error
        if line:
            yield line, where


def _row(line: str, where: str, labels: Collection[str] | None) -> Row:
    try:
        found = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        detail = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply"
        raise DataError(f"{where}: not valid JSON ({detail}); write one object per line.") from error
    if not isinstance(found, dict):
        raise DataError(f'{where}: expected an object {{"text": ..., "label": ...}}, found {type(found).__name__}.')
    text, label = _string(found, "text", where), _string(found, "label", where)
    source = _string(found, "source", where) if found.get("source") is not None else None
    if labels is not None and label not in labels:
        raise DataError(f'{where}: "label" {label!r} is unknown to this router; it knows {", ".join(sorted(labels))}.')
    return Row(text, label, source, _weight(found, where))


def _string(found: dict[str, Any], field: str, where: str) -> str:
    if field not in found:
        raise DataError(f'{where}: the field "{field}" is missing.')
    value = found[field]
    if not isinstance(value, str) or not value.strip():
        raise DataError(f'{where}: "{field}" must be a string that is not empty, found {json.dumps(value)[:60]}.')
    if not is_unicode(value):
        raise DataError(
            f'{where}: "{field}" holds half of a surrogate pair (\\ud800 to \\udfff); write whole characters.'
        )
    return value


def _weight(found: dict[str, Any], where: str) -> float:
    value = found.get("weight", 1.0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise DataError(f'{where}: "weight" must be a number above 0, found {json.dumps(value)[:60]}.')
    return float(value)
