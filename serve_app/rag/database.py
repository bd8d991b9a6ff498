"""The tables of a store: opened, made, dropped, and changed by one writer at a time."""

from __future__ import annotations

import contextlib
import itertools
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from filelock import FileLock, Timeout

from serve_app.core import CollectionNotFound, ConfigError, RequestError, RetrieverError
from serve_app.rag.collection import Collection
from serve_app.rag.queries import started
from serve_app.rag.rows import schema

if TYPE_CHECKING:
    from lancedb.db import AsyncConnection, DBConnection

T = TypeVar("T")

LANCE_ERRORS = (RuntimeError, OSError, ValueError)
"""What LanceDB raises; its errors share no other base."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_LOCK_S = 300
OPENS = 256
"""Of tables in one connection, whose caches keep files open that were deleted, and their contents in memory."""
_TRIES = 8
_PAUSE_S = 0.05


class Database:
    """A folder or an object-store address. Safe for threads.

    On a folder a file lock keeps other processes' writers out; on an object store a change that meets another's is made
    again. Raises RetrieverError where the store cannot be used.
    """

    def __init__(self, store: str) -> None:
        self._store, self._opens = store, itertools.count(1)
        self._connection, self._queries = _connected(store)
        self._locks = None if "://" in store else Path(store).absolute() / ".locks"
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        """Of all collections."""
        return list(guarded(lambda: self._connection.list_tables().tables))

    def open(self, name: str) -> Collection:
        """The collection as it is now. Raises CollectionNotFound."""
        if not _NAME.fullmatch(name):
            raise _not_found(name)
        if next(self._opens) % OPENS == 0:
            self._connection, self._queries = _connected(self._store)
        try:
            return Collection(name, self._connection.open_table(name), self._queries, self._owing(name))
        except LANCE_ERRORS as error:
            if name in self.names():
                raise unusable(error) from error
            raise _not_found(name) from error

    def create(self, name: str, dimension: int, encoder_digest: str) -> None:
        """An empty collection, unless there is one. Raises RequestError for a name that cannot be."""
        if not _NAME.fullmatch(name):
            raise RequestError(
                "A collection's name has 1 to 63 letters, digits, - or _, and begins with a letter or a digit.",
                "collection",
                "invalid_value",
            )
        made = schema(dimension, encoder_digest, uuid.uuid4().hex)
        with self._writing(name):
            if name not in self.names():
                table = guarded(lambda: self._connection.create_table(name, schema=made, exist_ok=True))
                guarded(Collection(name, table, self._queries).create_text_index)

    def change(self, name: str, work: Callable[[Collection], T]) -> T:
        """What `work` returns, given the collection as it is now; it may be called more than once."""
        with self._writing(name):
            for attempt in range(_TRIES):
                try:
                    return work(self.open(name))
                except LANCE_ERRORS as error:
                    if attempt == _TRIES - 1:
                        raise unusable(error) from error
                    time.sleep(_PAUSE_S * 2**attempt)
        raise AssertionError("not reached")

    def drop(self, name: str) -> None:
        """Remove a collection and its files. Raises CollectionNotFound."""
        with self._writing(name):
            self.open(name)
            guarded(lambda: self._connection.drop_table(name))
            if owing := self._owing(name):
                owing.unlink(missing_ok=True)

    def _owing(self, name: str) -> Path | None:
        return self._locks and self._locks / f"{name}.purge"

    @contextlib.contextmanager
    def _writing(self, name: str) -> Iterator[None]:
        with self._lock:
            if self._locks is None or not _NAME.fullmatch(name):
                yield
                return
            try:
                self._locks.mkdir(parents=True, exist_ok=True)
                lock = FileLock(self._locks / f"{name}.lock", timeout=_LOCK_S)
                lock.acquire()
            except (OSError, Timeout) as error:
                raise unusable(error) from error
            try:
                yield
            finally:
                lock.release()


def guarded(work: Callable[[], T]) -> T:
    """What `work` returns, with LanceDB's errors as one that says what to look at."""
    try:
        return work()
    except LANCE_ERRORS as error:
        raise unusable(error) from error


def unusable(error: Exception) -> RetrieverError:
    """LanceDB's error, without the places in its source that it names."""
    reason = re.split(r"\n|, /", str(error))[0][:200]
    return RetrieverError(f"The document store cannot be used ({reason}): check rag.store.")


def _not_found(name: str) -> CollectionNotFound:
    return CollectionNotFound(f"There is no collection {name!r}: ingest a document into it.", "collection")


def _connected(store: str) -> tuple[DBConnection, AsyncConnection]:
    """One for changes and one for searches, which share what is in memory."""
    try:
        import lancedb
    except ModuleNotFoundError as error:
        raise ConfigError("Documents need packages that are not installed: `pip install 'headrace[rag]'`.") from error
    session = lancedb.Session()
    connection = guarded(lambda: lancedb.connect(store, session=session))
    return connection, guarded(started(lancedb.connect_async(store, session=session)).result)
