"""Fitted files: one JSON object with a `format`, read with errors that name the file and say how to make it anew."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from serve_app.core import DataError
from serve_app.core.files import write_whole


class Stored(BaseModel):
    """Base of what such a file holds: frozen, unknown keys are errors, numbers are finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())


def write_object(found: Stored, path: Path, what: str) -> None:
    """Write a file of kind `what`, its folder made if absent; equal objects give equal bytes. Raises DataError."""
    text = json.dumps(found.model_dump(), ensure_ascii=False, indent=1)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text + "\n")
    except OSError as error:
        raise DataError(f"Cannot write the {what} to {path}: {error.strerror or error}.") from error


def read_object(path: Path, what: str, expected_format: int, again: str) -> dict[str, Any]:
    """The object in a file of kind `what`. Raises DataError; `again` says how to write it again."""
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"Cannot read the {what} {path}: {error.strerror or error}.") from error
    except ValueError as error:
        raise DataError(f"{path} is damaged (not JSON): {again}.") from error
    if not isinstance(found, dict) or "format" not in found:
        raise DataError(f"{path} is no {what} (it has no format): {again}.")
    if found["format"] != expected_format:
        raise DataError(f"{path} has format {found['format']!r} and this version reads {expected_format}: {again}.")
    return found


def damaged(path: Path, error: ValidationError, again: str) -> DataError:
    """What to raise where the object is not of the file's kind; names the first field at fault."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    return DataError(f"{path} is damaged ({f'{field}: ' if field else ''}{first['msg']}): {again}.")
