"""What was done and measured before: a JSON file for each, in one folder."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from serve_app.core import DataError

RecordKind = Literal["load_test", "chaos", "backup", "restore", "rollback", "safety"]
RECORD_KINDS: tuple[RecordKind, ...] = get_args(RecordKind)
_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Record:
    """One thing that was done."""

    kind: RecordKind
    at_s: float
    """Seconds since the epoch."""
    figures: Mapping[str, Any]
    """What was measured, and what with; see docs/checklist.md for what each kind holds."""

    def age_days(self, now_s: float | None = None) -> float:
        """Days since then."""
        return ((time.time() if now_s is None else now_s) - self.at_s) / _DAY_S


class Records:
    """A folder of records. It need not be there before the first is written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def latest(self, kind: RecordKind) -> Record | None:
        """The newest of its kind. Raises DataError for a file that is no record."""
        found = [_read(file, kind) for file in sorted(self.folder.glob(f"{kind}-*.json"))]
        return max(found, key=lambda record: record.at_s, default=None)

    def write(self, kind: RecordKind, figures: Mapping[str, Any], at_s: float | None = None) -> Path:
        """Add one, and return its file."""
        at_s = time.time() if at_s is None else at_s
        self.folder.mkdir(parents=True, exist_ok=True)
        stem = f"{kind}-{time.strftime('%Y%m%dT%H%M%S', time.gmtime(at_s))}"
        text = json.dumps({"kind": kind, "at_s": at_s, "figures": dict(figures)}, indent=1) + "\n"
        for number in itertools.count(1):
            file = self.folder / (f"{stem}.json" if number == 1 else f"{stem}-{number}.json")
            try:
                with file.open("x", encoding="utf-8") as new:
                    new.write(text)
            except FileExistsError:  # one of the same second
                continue
            break
        return file


def _read(file: Path, kind: RecordKind) -> Record:
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
        at_s, figures = float(raw["at_s"]), raw["figures"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file} is no record ({type(error).__name__}); delete it, or write it again.") from error
    if not 0 <= at_s <= time.time() + _DAY_S:  # milliseconds, or a clock that is wrong
        raise DataError(f"{file} is no record: `at_s`, seconds since the epoch, is no time that has been.")
    if not isinstance(figures, dict):
        raise DataError(f"{file} is no record: `figures` must be an object; delete it, or write it again.")
    return Record(kind, at_s, figures)
