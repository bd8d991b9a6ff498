"""Copies of adapters on this node, by digest; several replicas share them.

{folder}/{digest}/            an adapter, whole: it appears by one rename
{folder}/.part-*              what a fetch has so far; of a killed one, deleted by a later fetch
{folder}/.locks/{digest}.lock held by the fetch at work
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from filelock import FileLock, Timeout

from serve_app.adapters.folder import content_digest
from serve_app.adapters.registry.files import size_bytes
from serve_app.core import AdapterError

_LOCK_TIMEOUT_S = 300.0
_IN_USE_S = 600.0
"""A copy that was asked for less than this ago is not deleted: whoever asked may not have read it yet."""
_DIGEST = re.compile(r"[0-9a-f]{64}")


class AdapterCache:
    """Safe for several threads and processes. Its methods wait for the disk: not for the event loop."""

    def __init__(self, folder: Path, max_bytes: int, clock: Callable[[], float] = time.time) -> None:
        """`clock`: seconds since the epoch, as files have them."""
        self._folder, self._max_bytes, self._clock = folder, max_bytes, clock
        self._kept: frozenset[str] = frozenset()

    def keep(self, digests: Iterable[str]) -> None:
        """These are served, and are never deleted; replaces what was said before."""
        self._kept = frozenset(digests)

    def get(self, digest: str, fill: Callable[[Path], None]) -> Path:
        """The folder of a copy; `fill` writes the files of a missing or damaged one into an empty folder.

        Raises AdapterError when what came has another digest, when the disk fails, and what `fill` raises.
        """
        check_digest(digest)
        home = self._folder / digest
        try:
            if self._is_good(home, digest):
                return home
            (self._folder / ".locks").mkdir(parents=True, exist_ok=True)
            with FileLock(self._folder / ".locks" / f"{digest}.lock", timeout=_LOCK_TIMEOUT_S):
                if not self._is_good(home, digest):
                    self._place(home, digest, fill)
            self._make_room(digest)
        except Timeout as error:
            raise AdapterError(f"Another process fetches adapter {digest[:12]} and does not end; try again.") from error
        except OSError as error:
            raise AdapterError(
                f"{self._folder} cannot be used ({error.strerror or error}); check its disk and its permissions."
            ) from error
        return home

    def _is_good(self, home: Path, digest: str) -> bool:
        try:
            if content_digest(home) != digest:
                return False
            os.utime(home, (self._clock(), self._clock()))
        except FileNotFoundError:  # deleted between two looks
            return False
        return True

    def _place(self, home: Path, digest: str, fill: Callable[[Path], None]) -> None:
        part = Path(tempfile.mkdtemp(prefix=f".part-{digest}-", dir=self._folder))
        try:
            fill(part)
            if (found := content_digest(part)) != digest:
                raise AdapterError(f"Adapter {digest[:12]} came with other bytes ({found[:12]}); put it there again.")
            if home.exists():
                self._delete(home)
            part.replace(home)
            os.utime(home, (self._clock(), self._clock()))
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def _make_room(self, just_used: str) -> None:
        """Delete the least recently used until the rest fits, and what killed fetches left."""
        now_s, copies, total_bytes = self._clock(), [], 0
        for home in self._folder.iterdir():
            if home.name == ".locks":
                continue
            try:
                used_at_s, num_bytes = home.stat().st_mtime, size_bytes(home)
            except FileNotFoundError:
                continue  # another process was faster
            if not is_digest(home.name):
                if now_s - used_at_s > _LOCK_TIMEOUT_S + _IN_USE_S:
                    shutil.rmtree(home, ignore_errors=True)
                continue
            total_bytes += num_bytes
            if home.name not in self._kept and home.name != just_used and now_s - used_at_s > _IN_USE_S:
                copies.append((used_at_s, home, num_bytes))
        for _, home, num_bytes in sorted(copies):
            if total_bytes <= self._max_bytes:
                break
            self._delete(home)
            total_bytes -= num_bytes

    def _delete(self, home: Path) -> None:
        """Out of the way by one rename, so that nobody sees half of it."""
        bin_ = Path(tempfile.mkdtemp(prefix=".part-", dir=self._folder))
        try:
            home.replace(bin_ / home.name)
        except FileNotFoundError:
            pass  # another process was faster
        finally:
            shutil.rmtree(bin_, ignore_errors=True)


def is_digest(text: str) -> bool:
    """Whether it is a sha256 digest as it is written here."""
    return _DIGEST.fullmatch(text) is not None


def check_digest(digest: str) -> str:
    """The digest, if it is one: it becomes part of a path. Raises AdapterError."""
    if not is_digest(digest):
        raise AdapterError(f"{digest[:80]!r} is no sha256 digest; an adapter's has 64 hexadecimal digits.")
    return digest
