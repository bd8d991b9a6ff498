"""Cores of this machine, shared by its engines in whatever process.

Two engines whose threads together exceed the cores slow each other down ten times and more, since each waits in its
barriers for threads that are not scheduled. So an engine with k threads takes k of the gate's N cores for each step.

A core is a locked file, released by the kernel when its holder dies. Whoever waits for cores holds the door lock, so
that two engines never each hold half of what they need, and waiting is first come, first served.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_POLL_S = 0.0005


class CoreGate:
    """Counts `cores` between all gates on the same folder. One gate belongs to one thread."""

    def __init__(self, cores: int, folder: Path | None = None) -> None:
        self._folder = folder or Path(tempfile.gettempdir()) / f"headrace-cores-{os.getuid()}"
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._door = self._open("door")
        self._cores = [self._open(f"core-{index}") for index in range(cores)]

    @contextmanager
    def hold(self, threads: int) -> Iterator[None]:
        """Hold `threads` cores, or all there are if fewer; blocks until they are free."""
        wanted = min(threads, len(self._cores))
        held: list[int] = []
        try:
            fcntl.flock(self._door, fcntl.LOCK_EX)
            try:
                while len(held) < wanted:
                    free = next((core for core in self._cores if core not in held and _lock(core)), None)
                    if free is None:
                        time.sleep(_POLL_S)
                    else:
                        held.append(free)
            finally:
                fcntl.flock(self._door, fcntl.LOCK_UN)
            yield
        finally:
            for core in held:
                fcntl.flock(core, fcntl.LOCK_UN)

    def close(self) -> None:
        """Give the files back. The folder stays: another engine may hold it."""
        for descriptor in (self._door, *self._cores):
            os.close(descriptor)

    def _open(self, name: str) -> int:
        return os.open(self._folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
