"""JSONL as people have it: plain or gzipped, with or without a byte order mark; errors name file and line."""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serve_app.core import DataError
from serve_app.core.texts import is_unicode


@dataclass(frozen=True, slots=True)
class Line:
    """One line that is not blank."""

    number: int
    """Counted from 1, blank lines included."""
    data: bytes


def read_lines(path: Path, wanted: str = "JSON object") -> list[Line]:
    """All lines in order. Raises DataError when the file cannot be read, or holds none: it then asks for a `wanted`."""
    try:
        data = path.read_bytes()
        whole = gzip.decompress(data) if path.suffix == ".gz" else data
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error}); give a JSONL file, plain or .gz.") from error
    parts = enumerate(whole.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1)
    found = [Line(number, part) for number, part in parts if part.strip()]
    if not found:
        raise DataError(f"{path} holds no rows; write one {wanted} a line.")
    return found


def parse_object(line: Line, path: Path) -> dict[str, Any]:
    """The JSON object of a line. Raises DataError naming file and line; the text itself is not repeated."""
    where = f"{path}:{line.number}"
    try:
        found = json.loads(line.data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: not UTF-8 text; save the file as UTF-8.") from error
    except (json.JSONDecodeError, RecursionError) as error:
        detail = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply"
        raise DataError(f"{where}: not valid JSON ({detail}); write one object a line.") from error
    if not isinstance(found, dict):
        raise DataError(f"{where}: the line is no JSON object; write one object a line.")
    if b"\\u" in line.data and not is_unicode(json.dumps(found, ensure_ascii=False)):
        raise DataError(f"{where}: it holds half of a surrogate pair (\\ud800 to \\udfff); write whole characters.")
    return found
