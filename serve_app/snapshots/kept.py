"""One copy: for a replica's start while the ledger is away."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from serve_app.core import DataError
from serve_app.core.files import write_whole

T = TypeVar("T")

_CLOCK_SLACK_S = 60.0
"""How far in the future, by this machine's clock, a copy may have been made."""


@dataclass(frozen=True, slots=True)
class Kept(Generic[T]):
    """What the file holds."""

    read_at_s: float
    """When the ledger told this; seconds since the epoch."""
    snapshot: T


class KeptCopy(Generic[T]):
    """One file, which all replicas of a node share. Its methods wait for the disk: not for the event loop."""

    def __init__(self, path: Path, file: TypeAdapter[Kept[T]], max_age_s: float, clock: Callable[[], float]) -> None:
        """`max_age_s`: an older copy is not taken. `clock`: seconds since the epoch."""
        self._path, self._file, self.max_age_s, self._clock = path, file, max_age_s, clock

    def age_s(self, kept: Kept[T]) -> float:
        """Seconds since the ledger told it."""
        return max(0.0, self._clock() - kept.read_at_s)

    def load(self) -> Kept[T] | None:
        """The copy, if there is one that is young enough and that nobody else can have written or read.

        Raises DataError for one that cannot be used, OSError where the disk cannot be read.
        """
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        with os.fdopen(fd, "rb") as file:
            told = os.fstat(fd)
            if told.st_uid != os.geteuid() or stat.S_IMODE(told.st_mode) & 0o077:
                raise DataError(f"{self._path} belongs to or is open to other users; delete it.")
            text = file.read()
        try:
            kept = self._file.validate_json(text)
        except ValidationError:
            raise DataError(f"{self._path} is damaged or of another version; delete it.") from None
        now_s = self._clock()
        return kept if now_s - self.max_age_s <= kept.read_at_s <= now_s + _CLOCK_SLACK_S else None

    def save(self, snapshot: T) -> None:
        """Put a copy of what the ledger told just now in the place of the last one. Raises OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self._path, self._file.dump_json(Kept(self._clock(), snapshot)), private=True)
