"""Whose folder is whose: a lock that the kernel frees when its process dies, whatever it died of."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from itertools import chain, count
from pathlib import Path

from serve_app.core import LedgerError
from serve_app.ledger.journal.segment import sync_folder

_LOCK, _SUFFIX = "lock", ".segment"


class Folder:
    """A folder that this process holds. Made by `create` and `take_over`."""

    def __init__(self, path: Path, lock_fd: int) -> None:
        self.path, self._lock_fd = path, lock_fd

    @classmethod
    def create(cls, root: Path, owner: str) -> "Folder":
        """A new folder ROOT/OWNER; ROOT/OWNER-2 and so on where an earlier owner of that name left one.

        Raises LedgerError when the folder cannot be made.
        """
        try:
            root.mkdir(parents=True, exist_ok=True)
            with _root_lock(root):
                for name in chain([owner], (f"{owner}-{number}" for number in count(2))):
                    path = root / name
                    with contextlib.suppress(FileExistsError):
                        path.mkdir(mode=0o700)
                        break
                lock_fd = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                fcntl.flock(lock_fd, fcntl.LOCK_EX)
            sync_folder(root)
        except OSError as error:
            raise LedgerError(f"No journal can be kept in {root}: {error.strerror or error}.") from error
        return cls(path, lock_fd)

    @classmethod
    def take_over(cls, path: Path) -> "Folder | None":
        """Hold the folder of an owner that is dead; None when it lives, or when the folder is gone. Raises OSError."""
        with _root_lock(path.parent):
            try:
                lock_fd = os.open(path / _LOCK, os.O_RDWR | os.O_CLOEXEC)
            except (FileNotFoundError, NotADirectoryError):
                return None
            try:
                fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock_fd)
                return None
        return cls(path, lock_fd)

    def segment_path(self, number: int) -> Path:
        """Where the segment of that number lies."""
        return self.path / f"{number:08}{_SUFFIX}"

    def segment_paths(self) -> list[Path]:
        """The segments that are there, oldest first."""
        return sorted(self.path.glob(f"*{_SUFFIX}"))

    def release(self) -> None:
        """Leave the folder to whoever comes next."""
        os.close(self._lock_fd)

    def remove(self) -> None:
        """Delete the folder and what is in it. Raises OSError."""
        for path in self.segment_paths():  # oldest first: what is left after a crash never lacks the end of a query
            path.unlink()
        with _root_lock(self.path.parent):
            (self.path / _LOCK).unlink()
            self.path.rmdir()
        os.close(self._lock_fd)


def owner_folders(root: Path) -> list[Path]:
    """Folders of owners, dead or alive, by name; none where there is no such root."""
    return sorted(path.parent for path in root.glob(f"*/{_LOCK}"))


@contextlib.contextmanager
def _root_lock(root: Path) -> Iterator[None]:
    """Held for an instant, so that no folder is seen between its making and its locking."""
    fd = os.open(root / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
