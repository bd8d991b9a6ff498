"""One thread that writes, a few that read. The event loop never waits for SQL."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from filelock import FileLock
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from serve_app.store import migrate
from serve_app.store.engines import reader_engine, writer_engine
from serve_app.store.errors import StoreError
from serve_app.store.url import shown, store_url

T = TypeVar("T")


class Store:
    """A database that is open. Use from one event loop; `work` functions run in the store's threads.

    `read_only` neither creates nor upgrades anything, and refuses `write`.
    """

    def __init__(self, url: str, *, read_only: bool = False, read_threads: int = 2) -> None:
        """Only checks the URL; `open` connects. Raises ConfigError."""
        self._url = store_url(url)
        self.name = shown(self._url)
        """The database for messages, with no credentials."""
        self.dialect = self._url.get_backend_name()
        """`sqlite` or `postgresql`."""
        self.read_only = read_only
        self._reader_engine = reader_engine(self._url, read_threads)
        self._writer_engine = writer_engine(self._url)
        self._reader_threads = ThreadPoolExecutor(read_threads, thread_name_prefix="store-read")
        self._writer_thread = ThreadPoolExecutor(1, thread_name_prefix="store-write")

    async def open(self) -> None:
        """Connect; create the database and bring its schema up to date. Raises StoreError."""
        if self.read_only:
            await self._run(self._reader_threads, self._check)
        else:
            await self._run(self._writer_thread, self._create)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one transaction of the writer thread; returns after commit, rolls back on any error.

        Transactions run in the order of the calls. Cancelling the caller does not stop one that has begun.
        Raises StoreError, and what `work` raises.
        """
        if self.read_only:
            raise StoreError(f"{self.name} is open for reading only.")
        return await self._run(self._writer_thread, lambda: self._transaction(self._writer_engine, work))

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a reader thread, on one snapshot of the database. Raises StoreError, and what `work` raises."""
        return await self._run(self._reader_threads, lambda: self._transaction(self._reader_engine, work))

    async def close(self) -> None:
        """Finish the transactions under way and disconnect. May be called twice."""
        await asyncio.to_thread(self._shut_down)

    async def _run(self, threads: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        try:
            future = asyncio.get_running_loop().run_in_executor(threads, work)
        except RuntimeError as error:  # how an executor says that it was shut down
            raise StoreError(f"{self.name} is closed.") from error
        return await future

    def _check(self) -> None:
        if self.dialect == "sqlite" and not Path(self.name).is_file():
            raise StoreError(
                f"There is no database file {self.name}; start `headrace serve` once, or name another file."
            )
        self._transaction(self._reader_engine, migrate.check)

    def _create(self) -> None:
        if self.dialect != "sqlite":
            self._transaction(self._writer_engine, migrate.upgrade)
            return
        file = Path(self.name)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch(mode=0o600)  # who asked what, and what it cost, is for this user alone
            # When several processes switch a new file to WAL at once, some get `database is locked` in spite of the
            # busy timeout (38 of 600 tries with four processes, SQLite 3.46). The lock file is left there.
            with FileLock(f"{file}.lock", timeout=30):
                self._transaction(self._writer_engine, migrate.upgrade)
        except OSError as error:  # filelock's Timeout is one too
            raise StoreError(f"{file} cannot be opened ({error}); check the folder and its permissions.") from error

    def _transaction(self, engine: Engine, work: Callable[[Connection], T]) -> T:
        try:
            with engine.begin() as connection:
                return work(connection)
        except SQLAlchemyError as error:
            raise StoreError(self._sentence(error)) from error

    def _sentence(self, error: SQLAlchemyError) -> str:
        cause = " ".join(str(getattr(error, "orig", None) or type(error).__name__).split())
        if "database is locked" in cause:
            return f"{self.name} is locked by another process; only one may write to it."
        if "not a database" in cause:
            return f"{self.name} is not an SQLite database; give another file."
        return f"{self.name} cannot be used: {cause}."

    def _shut_down(self) -> None:
        for threads in (self._writer_thread, self._reader_threads):
            threads.shutdown(wait=True)
        for engine in (self._writer_engine, self._reader_engine):
            engine.dispose()
