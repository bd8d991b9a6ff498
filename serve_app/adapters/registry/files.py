"""Which files an adapter is, how they are copied within a bound, and a storage's errors in one sentence."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit, urlunsplit

from serve_app.adapters import manifest, peft_config, tensors
from serve_app.core import AdapterError

REQUIRED = (peft_config.FILE_NAME, tensors.FILE_NAME)
CARD = "README.md"
NAMES = (*REQUIRED, manifest.FILE_NAME, CARD)
"""All that is ever taken: what the digest is over, and the card for people."""

_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
_CHUNK_BYTES = 1 << 20


class Allowance:
    """The bytes that may still be taken of one adapter."""

    def __init__(self, max_bytes: int, where: str) -> None:
        self._max_bytes, self._left_bytes, self._where = max_bytes, max_bytes, where

    def take(self, num_bytes: int) -> None:
        """Raises AdapterError when these are too many."""
        self._left_bytes -= num_bytes
        if self._left_bytes < 0:
            raise AdapterError(
                f"{self._where} is larger than {self._max_bytes / 2**20:g} MiB; use a lower rank, or raise "
                "registry.max_adapter_mb."
            )

    def copy(self, source: IO[bytes], target: Path) -> None:
        """Write a new file; what a storage said of its size before is not relied upon."""
        with target.open("xb") as out:
            while chunk := source.read(_CHUNK_BYTES):
                self.take(len(chunk))
                out.write(chunk)


def open_plain(path: Path) -> IO[bytes]:
    """A regular file, opened for reading; raises AdapterError for a link, a device or a folder."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise AdapterError(f"{path} cannot be read ({error.strerror}); links are not followed.") from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise AdapterError(f"{path} is no regular file; give a folder that holds the adapter's files themselves.")
    return os.fdopen(fd, "rb")


def copy_folder(folder: Path, into: Path, max_bytes: int) -> None:
    """Take an adapter's files out of a folder of this machine. Raises AdapterError."""
    if not folder.is_dir():
        raise AdapterError(f"{folder} is no folder here; give the one that holds {peft_config.FILE_NAME}.")
    allowance = Allowance(max_bytes, str(folder))
    for name in NAMES:
        try:
            source = open_plain(folder / name)
        except FileNotFoundError:
            continue
        with source:
            allowance.copy(source, into / name)


def size_bytes(folder: Path) -> int:
    """Of an adapter's files together, the card included."""
    return sum((folder / name).stat().st_size for name in NAMES if (folder / name).is_file())


def filesystem(uri: str) -> tuple[Any, str]:
    """The fsspec filesystem of a URI, and the path on it without a slash at its end. Raises AdapterError."""
    from fsspec.core import url_to_fs  # looks through all installed packages when it is imported

    if "::" in uri:
        raise AdapterError(f"{shown(uri)} is a chain of storages; name one storage.")
    with storage_errors(uri):
        system, path = url_to_fs(uri)
        system.invalidate_cache()
    return system, str(path).rstrip("/")


def shown(uri: str) -> str:
    """A URI for messages: no user, no password, no query."""
    if "://" not in uri:
        return uri
    try:
        parts = urlsplit(uri)
    except ValueError:
        return uri.partition("://")[0] + "://…"
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


@contextmanager
def storage_errors(uri: str) -> Iterator[None]:
    """What a storage raises inside becomes an AdapterError that names it."""
    try:
        yield
    except AdapterError:
        raise
    except ImportError as error:
        extra = _EXTRAS.get(uri.partition("://")[0])
        what = f"headrace[{extra}]" if extra else "the package that fsspec needs for it"
        raise AdapterError(f"{shown(uri)} cannot be used here; install {what}.") from error
    except Exception as error:  # each of fsspec's storages has errors of its own, with no common base
        told = " ".join(str(error).split())[:200] or "no message"
        raise AdapterError(
            f"{shown(uri)} cannot be read or written now ({type(error).__name__}: {told}); check its address and its "
            "credentials, and try again."
        ) from error
