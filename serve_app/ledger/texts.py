"""Prompts and answers, where a team has switched on that they are kept: the raw material of distillation and review.

They lie in a table of their own, so that accounts hold no text and retention of the two is apart. Redaction happened
before they came here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Select, delete, select, tuple_

from serve_app.ledger.partitions import created_between, day_of
from serve_app.ledger.tables import queries, texts
from serve_app.store import Store, insert_into
from serve_app.store.faults import store_faults

_TEXTS_AT_A_TIME = 2000


@dataclass(frozen=True, slots=True)
class StoredText:
    """What was asked and what was answered. `created_at_s`: when the query arrived, seconds since the epoch."""

    query_id: str
    created_at_s: float
    key_id: str | None
    prompt: str
    """The turns as JSON (a list of objects with role and content), or the raw prompt as a JSON string."""
    answer: str
    """Of the first choice."""
    model: str | None
    adapter: str | None
    adapter_version: str | None
    escalated: bool


@dataclass(frozen=True, slots=True)
class RoutedText:
    """Texts with what the account of their query says."""

    text: StoredText
    route: str | None
    """The router's label; None: no router saw the query, or its account was pruned."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which texts a reader asks for. None leaves a field open."""

    since_s: float | None = None
    until_s: float | None = None
    """Not included."""
    escalated: bool | None = None
    route: str | None = None
    adapter: str | None = None


class TextStore:
    """The table of texts, over the ledger's database."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def put(self, stored: Sequence[StoredText]) -> None:
        """Keep texts; a query that has some already keeps those. Raises LedgerError."""
        rows = [{**asdict(text), "day": day_of(text.created_at_s)} for text in stored]
        if not rows:
            return
        with store_faults():
            await self._store.write(lambda connection: _insert(connection, rows))

    async def of(self, query_id: str) -> StoredText | None:
        """The texts of one query, or None. Raises LedgerError."""
        statement = select(*(texts.c[name] for name in StoredText.__slots__)).where(texts.c.query_id == query_id)
        with store_faults():
            row = await self._store.read(lambda connection: connection.execute(statement).one_or_none())
        return None if row is None else StoredText(*row)

    async def page(self, wanted: Wanted, after: StoredText | None = None) -> list[RoutedText]:
        """The next texts in the order of their arrival, 2,000 at most; none: there are no more. Raises LedgerError."""
        statement = _select(wanted)
        if after is not None:
            place = tuple_(texts.c.created_at_s, texts.c.query_id)
            statement = statement.where(place > (after.created_at_s, after.query_id))
        statement = statement.order_by(texts.c.created_at_s, texts.c.query_id).limit(_TEXTS_AT_A_TIME)
        with store_faults():
            rows = await self._store.read(lambda connection: connection.execute(statement).all())
        return [RoutedText(StoredText(*row[:-1]), row[-1]) for row in rows]

    async def prune(self, retention_days: int, now_s: float) -> int:
        """Delete what arrived more than `retention_days` days ago; returns how many. Raises LedgerError.

        In transactions of its own, so that accounts are stored and budgets granted meanwhile.
        """
        oldest, num_deleted = day_of(now_s) - retention_days, 0
        some = select(texts.c.query_id).where(texts.c.day < oldest).limit(_TEXTS_AT_A_TIME)
        statement = delete(texts).where(texts.c.query_id.in_(some))
        with store_faults():
            while count := await self._store.write(lambda connection: connection.execute(statement).rowcount):
                num_deleted += count
        return num_deleted


def _select(wanted: Wanted) -> Select[Any]:
    account = (queries.c.day == texts.c.day) & (queries.c.query_id == texts.c.query_id)
    columns = (texts.c[name] for name in StoredText.__slots__)
    statement = select(*columns, queries.c.route).join_from(texts, queries, account, isouter=True)
    statement = statement.where(*created_between(wanted.since_s, wanted.until_s, texts))
    if wanted.escalated is not None:
        statement = statement.where(texts.c.escalated.is_(wanted.escalated))
    if wanted.route is not None:
        statement = statement.where(queries.c.route == wanted.route)
    if wanted.adapter is not None:
        statement = statement.where(texts.c.adapter == wanted.adapter)
    return statement


def _insert(connection: Connection, rows: list[dict[str, object]]) -> None:
    connection.execute(insert_into(connection, texts).on_conflict_do_nothing(index_elements=["query_id"]), rows)
