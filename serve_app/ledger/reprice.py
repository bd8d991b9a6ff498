"""A period at other prices: what it would have cost. The accounts themselves are read and never changed.

Only accounts that retention has not deleted can be compared.
"""

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, delete, insert, select, tuple_

from serve_app.core import Answer, ConfigError
from serve_app.ledger.partitions import created_between
from serve_app.ledger.pricebook import PriceBook
from serve_app.ledger.public import usd
from serve_app.ledger.rows import answer_of
from serve_app.ledger.tables import attempts, queries, repriced_queries, repricings
from serve_app.store import Store
from serve_app.store.faults import store_faults

_ACCOUNTS_AT_A_TIME = 2000
_Place = tuple[int, str]
"""Day and id of the last account read: accounts are read in this order."""


@dataclass(slots=True)
class Compared:
    """Exact sums over some accounts, in nano-dollars, as billed and at the other prices."""

    accounts: int = 0
    """Shadows included."""
    cost_nusd: int = 0
    always_large_nusd: int = 0
    repriced_cost_nusd: int = 0
    repriced_always_large_nusd: int = 0

    def add(self, billed: Answer, repriced: Answer) -> None:
        """Add one account."""
        self.accounts += 1
        self.cost_nusd += billed.cost_nusd
        self.always_large_nusd += billed.always_large_nusd
        self.repriced_cost_nusd += repriced.cost_nusd
        self.repriced_always_large_nusd += repriced.always_large_nusd

    def public(self) -> dict[str, Any]:
        """For JSON; savings may be negative.

        >>> Compared(2, 300, 1000, 450, 1500).public()["cost_change"]
        0.5
        """
        saved_nusd = self.repriced_always_large_nusd - self.repriced_cost_nusd
        change = (self.repriced_cost_nusd - self.cost_nusd) / self.cost_nusd if self.cost_nusd else None
        return {
            "accounts": self.accounts,
            "cost_usd": usd(self.cost_nusd),
            "repriced_cost_usd": usd(self.repriced_cost_nusd),
            "cost_change": change,
            "always_large_usd": usd(self.always_large_nusd),
            "repriced_always_large_usd": usd(self.repriced_always_large_nusd),
            "repriced_saved_usd": usd(saved_nusd),
        }


@dataclass(slots=True)
class Repricing:
    """What came out."""

    total: Compared = field(default_factory=Compared)
    models: dict[str | None, Compared] = field(default_factory=dict)
    """By the model that answered."""
    from_cache: int = 0
    """Answers of the response cache, whose always-large figure stays as it was: their tokens are not known."""
    versions: dict[str, int] = field(default_factory=dict)
    """Other prices used -> accounts."""
    repricing_id: str | None = None
    """Under which it is saved; None: it is not."""

    def add(self, billed: Answer, repriced: Answer) -> None:
        """Add one account."""
        self.total.add(billed, repriced)
        self.models.setdefault(billed.model, Compared()).add(billed, repriced)
        self.from_cache += billed.cache is not None
        version = str(repriced.price_version)
        self.versions[version] = self.versions.get(version, 0) + 1

    def public(self) -> dict[str, Any]:
        """For JSON, dearest model first."""
        dearest = sorted(self.models.items(), key=lambda item: (-item[1].repriced_cost_nusd, str(item[0])))
        return {
            "totals": self.total.public(),
            "models": [{"model": model} | compared.public() for model, compared in dearest],
            "versions": self.versions,
            "from_cache": self.from_cache,
            "repricing_id": self.repricing_id,
        }


async def reprice(
    store: Store, book: PriceBook, since_s: float | None, until_s: float | None, *, save: bool = False
) -> Repricing:
    """Price the accounts with `since_s <= created_at_s < until_s` at `book`, some at a time.

    `save` keeps each account's two figures under a new `repricing_id`, beside the accounts; the comparison itself is
    written last, so that one without it was broken off. Raises ConfigError when the book lacks a model that was used,
    LedgerError when the database cannot be used.
    """
    found = Repricing(repricing_id=uuid.uuid4().hex if save else None)
    with store_faults():
        try:
            await _reprice_all(store, book, found, since_s, until_s)
            if found.repricing_id is not None:
                await store.write(partial(_conclude, found=found, since_s=since_s, until_s=until_s))
        except ConfigError:
            if found.repricing_id is not None:
                await store.write(partial(_forget, repricing_id=found.repricing_id))
            raise
    return found


async def _reprice_all(
    store: Store, book: PriceBook, found: Repricing, since_s: float | None, until_s: float | None
) -> None:
    last: _Place | None = None
    while accounts := await store.read(partial(_read, since_s=since_s, until_s=until_s, after=last)):
        last = accounts[-1][0]
        rows = []
        for place, answer in accounts:
            other = book.price(answer)
            found.add(answer, other)
            rows.append(_row(found.repricing_id, place, other))
        if found.repricing_id is not None:
            await store.write(partial(_insert, rows=rows))


def _read(
    connection: Connection, since_s: float | None, until_s: float | None, after: _Place | None
) -> list[tuple[_Place, Answer]]:
    """The next accounts of the period, by day and id."""
    statement = select(queries).where(*created_between(since_s, until_s))
    if after is not None:
        statement = statement.where(tuple_(queries.c.day, queries.c.query_id) > after)
    rows = connection.execute(statement.order_by(queries.c.day, queries.c.query_id).limit(_ACCOUNTS_AT_A_TIME)).all()
    if not rows:
        return []
    tried = _attempts(connection, (rows[0].day, rows[0].query_id), (rows[-1].day, rows[-1].query_id))
    return [((row.day, row.query_id), answer_of(row, tried.get((row.day, row.query_id), ()))) for row in rows]


def _attempts(connection: Connection, first: _Place, last: _Place) -> dict[_Place, Sequence[Any]]:
    """The attempts of the accounts from `first` to `last`."""
    place = tuple_(attempts.c.day, attempts.c.query_id)
    statement = (
        select(attempts)
        .where(attempts.c.day.between(first[0], last[0]), place >= first, place <= last)
        .order_by(attempts.c.day, attempts.c.query_id, attempts.c.attempt_index)
    )
    rows = connection.execute(statement)
    return {key: list(group) for key, group in groupby(rows, key=lambda row: (row.day, row.query_id))}


def _row(repricing_id: str | None, place: _Place, answer: Answer) -> dict[str, Any]:
    return {
        "repricing_id": repricing_id,
        "day": place[0],
        "query_id": place[1],
        "cost_nusd": answer.cost_nusd,
        "always_large_nusd": answer.always_large_nusd,
    }


def _insert(connection: Connection, rows: list[dict[str, Any]]) -> None:
    connection.execute(insert(repriced_queries), rows)


def _conclude(connection: Connection, found: Repricing, since_s: float | None, until_s: float | None) -> None:
    row = {
        "repricing_id": found.repricing_id,
        "version": ", ".join(found.versions),
        "since_s": since_s,
        "until_s": until_s,
        "created_at_s": time.time(),
    }
    connection.execute(insert(repricings), row)


def _forget(connection: Connection, repricing_id: str) -> None:
    connection.execute(delete(repriced_queries).where(repriced_queries.c.repricing_id == repricing_id))
