"""The ledger on SQLite or PostgreSQL, behind `core.Ledger`."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection

from serve_app.core import Answer, LedgerError
from serve_app.ledger import audits, export
from serve_app.ledger.accounts import find_account, insert_accounts, recent_accounts
from serve_app.ledger.partitions import day_of, drop_some, kept_days
from serve_app.ledger.public import stored_account
from serve_app.ledger.stats import Spend, check_group_by, read_stats, spend
from serve_app.store import Store
from serve_app.store.faults import store_faults

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pruned:
    """What `prune` deleted."""

    num_days: int
    num_queries: int


class SqlLedger:
    """`core.Ledger` over one database. Methods are called from one event loop; SQL runs in the store's threads."""

    def __init__(self, database: str | Store, *, read_only: bool = False) -> None:
        """Over the database of this URL, or over a store that is shared. Only checks the URL. Raises ConfigError."""
        self.store = Store(database, read_only=read_only) if isinstance(database, str) else database
        """For what else lives in the database; opened and closed with the ledger."""

    @property
    def name(self) -> str:
        """The database for messages, with no credentials."""
        return self.store.name

    async def open(self) -> None:
        """Connect, and unless `read_only` create and upgrade the tables. Raises LedgerError."""
        with store_faults():
            await self.store.open()

    async def close(self) -> None:
        """Finish what is under way and disconnect."""
        await self.store.close()

    async def record(self, answers: Sequence[Answer]) -> None:
        """Store all accounts in one transaction; those whose `query_id` is known change nothing.

        An id is known within its day, so a repeat has the `created_at_s` of the first. Returns after commit, all or
        none stored, totals included. Raises LedgerError.
        """
        first = {answer.query_id: answer for answer in reversed(answers)}  # of repeats within a batch the first counts
        if not first:
            return
        try:
            await self._write(lambda connection: insert_accounts(connection, first))
        except (TypeError, ValueError, OverflowError) as error:
            raise LedgerError(f"An account has a value that no column takes: {error}.") from error

    async def query(self, query_id: str) -> dict[str, Any] | None:
        """One account as `public.stored_account` shows it, or None. Raises LedgerError."""
        answer = await self.account(query_id)
        return None if answer is None else stored_account(answer)

    async def account(self, query_id: str) -> Answer | None:
        """One account, or None. Raises LedgerError."""
        return await self._read(lambda connection: find_account(connection, query_id))

    async def recent(
        self, limit: int, before: float | tuple[float, str] | None = None, key_id: str | None = None
    ) -> list[dict[str, Any]]:
        """The newest accounts as `query` shows one; see `accounts.recent_accounts`. Raises LedgerError."""
        answers = await self._read(lambda connection: recent_accounts(connection, limit, before, key_id))
        return [stored_account(answer) for answer in answers]

    async def stats(
        self, since_s: float | None, until_s: float | None, group_by: tuple[str, ...], key_id: str | None = None
    ) -> dict[str, Any]:
        """What `stats.read_stats` says. Raises RequestError on a bad group, LedgerError when it cannot be read."""
        keys = check_group_by(group_by)
        return await self._read(lambda connection: read_stats(connection, since_s, until_s, keys, key_id))

    async def spend(self, key_id: str | None, since_s: float | None, until_s: float | None = None) -> Spend:
        """Money and tokens used up in a range; `key_id` as in `stats.read_stats`. Raises LedgerError."""
        return await self._read(lambda connection: spend(connection, since_s, until_s, key_id))

    async def always_large_check(self, since_s: float | None, until_s: float | None) -> dict[str, Any]:
        """What `audits.always_large_check` says. Raises LedgerError."""
        return await self._read(lambda connection: audits.always_large_check(connection, since_s, until_s))

    async def export(
        self, path: Path, form: export.Format, rows: export.Rows, since_s: float | None, until_s: float | None
    ) -> int:
        """Write the accounts of a range to a file; returns its number of rows.

        Raises LedgerError, OSError, and ConfigError where the library for the format is missing.
        """

        def work(connection: Connection) -> int:
            with export.open_rows(path, form, rows) as file:
                return export.write_rows(connection, file, rows, since_s, until_s)

        return await self._read(work)

    async def prune(self, retention_days: int, now_s: float | None = None) -> Pruned:
        """Delete the accounts of all days that ended `retention_days` ago or earlier; totals stay.

        In transactions of its own, oldest day first, so that accounts are stored meanwhile; what is left after an error
        goes the next time. An account that comes after its day was pruned is stored all the same. Raises LedgerError.
        """
        now_s = time.time() if now_s is None else now_s
        before = day_of(now_s) - retention_days
        num_queries = 0
        days = await self._read(lambda connection: kept_days(connection, before))
        for day in days:
            while num_dropped := await self._write(partial(drop_some, day=day, now_s=now_s)):
                num_queries += num_dropped
        return Pruned(len(days), num_queries)

    async def _read(self, work: Callable[[Connection], T]) -> T:
        with store_faults():
            return await self.store.read(work)

    async def _write(self, work: Callable[[Connection], T]) -> T:
        with store_faults():
            return await self.store.write(work)
