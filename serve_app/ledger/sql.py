"""The ledger in SQL: the one writer of the accounts, and the reader of totals."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from serve_app.core import Answer, LedgerError
from serve_app.ledger.public import stored_account
from serve_app.ledger.rows import answer_of, attempt_rows, query_row
from serve_app.ledger.stats import check_group_by, read_stats
from serve_app.ledger.tables import attempts, queries
from serve_app.store import Store, StoreError

T = TypeVar("T")


class SqlLedger:
    """`core.Ledger` over one database. Methods are called from one event loop; SQL runs in the store's threads."""

    def __init__(self, url: str, *, read_only: bool = False) -> None:
        """Only checks the URL. Raises ConfigError."""
        self._store = Store(url, read_only=read_only)

    @property
    def name(self) -> str:
        """The database for messages, with no credentials."""
        return self._store.name

    async def open(self) -> None:
        """Connect, and unless `read_only` create and upgrade the tables. Raises LedgerError."""
        try:
            await self._store.open()
        except StoreError as error:
            raise LedgerError(str(error)) from error

    async def close(self) -> None:
        """Finish what is under way and disconnect."""
        await self._store.close()

    async def record(self, answers: Sequence[Answer]) -> None:
        """Store all accounts in one transaction; those whose `query_id` is known change nothing.

        Returns after commit, all or none stored. Raises LedgerError.
        """
        first = {answer.query_id: answer for answer in reversed(answers)}  # of repeats within a batch the first counts
        if not first:
            return
        try:
            await self._store.write(lambda connection: _insert(connection, first))
        except StoreError as error:
            raise LedgerError(str(error)) from error

    async def query(self, query_id: str) -> dict[str, Any] | None:
        """One account as `public.stored_account` shows it, or None. Raises LedgerError."""
        answer = await self._read(lambda connection: _select(connection, query_id))
        return None if answer is None else stored_account(answer)

    async def stats(self, since_s: float | None, until_s: float | None, group_by: tuple[str, ...]) -> dict[str, Any]:
        """What `stats.read_stats` says. Raises RequestError on a bad group, LedgerError when it cannot be read."""
        keys = check_group_by(group_by)
        return await self._read(lambda connection: read_stats(connection, since_s, until_s, keys))

    async def _read(self, work: Callable[[Connection], T]) -> T:
        try:
            return await self._store.read(work)
        except StoreError as error:
            raise LedgerError(str(error)) from error


def _insert(connection: Connection, answers: dict[str, Answer]) -> None:
    """Insert the accounts not yet known, with their attempts.

    The database says which rows it took: with two writers on PostgreSQL a look-up beforehand could be out of date.
    """
    dialect_insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = dialect_insert(queries).on_conflict_do_nothing(index_elements=["query_id"])
    rows = [query_row(answer) for answer in answers.values()]
    taken = connection.execute(statement.returning(queries.c.query_id), rows).scalars().all()
    new_attempts = [row for query_id in taken for row in attempt_rows(answers[query_id])]
    if new_attempts:
        connection.execute(insert(attempts), new_attempts)


def _select(connection: Connection, query_id: str) -> Answer | None:
    query = connection.execute(select(queries).where(queries.c.query_id == query_id)).one_or_none()
    if query is None:
        return None
    of_query = select(attempts).where(attempts.c.query_id == query_id).order_by(attempts.c.attempt_index)
    return answer_of(query, connection.execute(of_query).all())
