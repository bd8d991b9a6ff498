"""One file of the journal, allocated whole so that a full disk shows before an account has to be written to it."""

import os
from pathlib import Path

from serve_app.ledger.journal.frames import MAGIC, PREFIX

_CLOSED = -1


class Segment:
    """Appends go through one thread; `sync` may run in another."""

    def __init__(self, path: Path, capacity_bytes: int) -> None:
        """Make the file, its entry in the folder on disk. Raises OSError, and leaves nothing then."""
        self.path, self.capacity_bytes = path, capacity_bytes
        self.base = 0
        """Position of its first byte; set by `begin_at`."""
        self.num_bytes = 0
        """Written so far, the prefix included."""
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            _allocate(self._fd, capacity_bytes)
            sync_folder(path.parent)
        except OSError:
            self.remove()
            raise

    @property
    def stop(self) -> int:
        """Position behind its last byte written."""
        return self.base + self.num_bytes

    def begin_at(self, base: int) -> None:
        """Take it into use as the next segment. Raises OSError."""
        self._write(PREFIX.pack(MAGIC, base))
        self.base = base

    def has_room(self, num_bytes: int) -> bool:
        """Whether so many bytes fit."""
        return self.num_bytes + num_bytes <= self.capacity_bytes

    def append(self, frame: bytes) -> None:
        """Write a frame; it outlives the process then, and the machine after `sync`. Raises OSError, nothing appended.

        What a failed write left behind its end is written over by the next one.
        """
        self._write(frame)

    def sync(self) -> None:
        """Return when all that was written is on disk. Raises OSError."""
        _data_sync(self._fd)

    def close(self) -> None:
        """Keep the file, give back its handle. Appends raise OSError then: its number may be another file's by now."""
        os.close(self._fd)
        self._fd = _CLOSED

    def remove(self) -> None:
        """Delete the file. Nothing else may be called then."""
        self.close()
        self.path.unlink()

    def _write(self, data: bytes) -> None:
        num_written = os.pwrite(self._fd, data, self.num_bytes)
        if num_written < len(data):  # the rest tells why: it fails, or succeeds after all
            num_written += os.pwrite(self._fd, data[num_written:], self.num_bytes + num_written)
        if num_written < len(data):
            raise OSError(f"only {num_written} of {len(data)} bytes could be written")
        self.num_bytes += len(data)


def sync_folder(folder: Path) -> None:
    """Return when the names in a folder are on disk. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _allocate(fd: int, num_bytes: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, 0, num_bytes)
    else:  # macOS: the space is not reserved, so a full disk shows at a write
        os.ftruncate(fd, num_bytes)


def _data_sync(fd: int) -> None:
    if hasattr(os, "fdatasync"):
        os.fdatasync(fd)
    else:
        os.fsync(fd)
