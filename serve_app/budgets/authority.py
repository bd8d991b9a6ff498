"""The one place that grants budgets: beside the database, in the process that writes it."""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from sqlalchemy import Connection, delete, func, insert, select, update

from serve_app.budgets.amount import Amount
from serve_app.budgets.budget import Meter
from serve_app.budgets.protocol import Ask, Grant, granted
from serve_app.budgets.spending import recorded, recorded_by
from serve_app.budgets.tables import budget_grants
from serve_app.budgets.windows import Span, span_at
from serve_app.store import Store
from serve_app.store.faults import store_faults

T = TypeVar("T")

BEFORE = ""
"""Holder of what had been spent in a window before its first grant; no gateway is called so."""

_KEPT_S = 3600
"""When a window begins, grants of those are forgotten that began longer ago, but for the one just over."""
_LOCK_KEY = 0x4275646765747321
"""PostgreSQL advisory lock of the grants; the letters `Budgets!`."""


class BudgetAuthority:
    """A `LeaseSource` over the tables of the ledger's database. Methods are called from one event loop."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        """`store` is opened and closed by its owner. `clock` tells seconds since the epoch."""
        self._store, self._clock = store, clock
        self._began_s = clock()
        self._heard_at_s: dict[str, float] = {}
        """Gateway -> when it last gave a sign of life."""

    def heard(self, gateways: Iterable[str]) -> None:
        """These have sent something, be it accounts."""
        self._heard_at_s |= dict.fromkeys(gateways, self._clock())

    async def lease(self, gateway: str, asks: Sequence[Ask]) -> tuple[Grant, ...]:
        """Answer each ask in one write transaction; returns after commit. Raises LedgerError.

        What a gateway says it holds is believed, so that an overrun is charged; what it gets on top never takes the
        sum over all gateways past the limit.
        """
        if not asks:
            return ()
        self.heard([gateway])
        return await self._write(lambda connection: tuple(lease_one(connection, gateway, ask) for ask in asks))

    async def reclaim(self, gateway: str) -> int:
        """Turn the grants of a dead gateway, in windows still open, into what its recorded queries cost.

        Call it once the gateway's journal is adopted: what is recorded later is not counted. A query that was `lost`
        counts nothing. Returns how many grants were looked at; may be repeated. Raises LedgerError.
        """
        now_s = self._clock()
        with store_faults():
            used = await self._store.read(lambda connection: _recorded_by_window(connection, gateway, now_s))
        if used:
            await self._write(lambda connection: _charge(connection, gateway, used))
        return len(used)

    async def reclaim_silent(self, silent_s: float) -> int:
        """The same for all gateways that were not heard of for so long: journals that went with their node are adopted
        by nobody. `silent_s` has to be longer than a query may take; one that lives all the same says what it holds
        when it asks again. Returns how many gateways; may be repeated. Raises LedgerError.
        """
        oldest_s = self._clock() - silent_s
        self._heard_at_s = {gateway: at_s for gateway, at_s in self._heard_at_s.items() if at_s > oldest_s}
        if self._began_s > oldest_s:  # nobody has listened for so long
            return 0
        with store_faults():
            holders = await self._store.read(_all_holders)
        silent = holders - self._heard_at_s.keys() - {BEFORE}
        for gateway in silent:
            await self.reclaim(gateway)
        return len(silent)

    async def _write(self, work: Callable[[Connection], T]) -> T:
        def locked(connection: Connection) -> T:
            if connection.dialect.name == "postgresql":  # SQLite has let in one writer already
                connection.execute(select(func.pg_advisory_xact_lock(_LOCK_KEY)))
            return work(connection)

        with store_faults():
            return await self._store.write(locked)


def lease_one(connection: Connection, gateway: str, ask: Ask) -> Grant:
    """Answer one ask, and write down what the gateway holds then. Nobody else may write meanwhile."""
    meter, span = ask.budget.meter, ask.span
    holders = _holders(connection, meter.name, span)
    if not holders:
        if _is_forgotten(connection, meter, span):
            return Grant(ask.held, Amount(ask.budget.nusd or 0, ask.budget.tokens or 0))
        holders = _begin_window(connection, meter, span)
    others = Amount()
    for holder, amount in holders.items():
        if holder != gateway:
            others += amount
    grant = granted(ask, others)
    _hold(connection, meter.name, span.start_s, gateway, grant.held, known=gateway in holders)
    return grant


def _all_holders(connection: Connection) -> set[str]:
    return set(connection.execute(select(budget_grants.c.gateway).distinct()).scalars())


def _holders(connection: Connection, name: str, span: Span) -> dict[str, Amount]:
    table = budget_grants.c
    rows = connection.execute(
        select(table.gateway, table.granted_nusd, table.granted_tokens).where(
            table.budget == name, table.window_start_s == span.start_s
        )
    )
    return {row.gateway: Amount(row.granted_nusd, row.granted_tokens) for row in rows}


def _is_forgotten(connection: Connection, meter: Meter, span: Span) -> bool:
    """Whether the window may have had grants that are gone. It is long over, and a query of it gets nothing more."""
    table = budget_grants.c
    newest = connection.execute(select(func.max(table.window_start_s)).where(table.budget == meter.name)).scalar()
    return newest is not None and span.start_s < newest - _KEPT_S


def _begin_window(connection: Connection, meter: Meter, span: Span) -> dict[str, Amount]:
    """Count what was spent in the window so far, and forget windows that are over for good."""
    table = budget_grants.c
    over = (table.budget == meter.name) & (table.window_start_s < span.start_s - _KEPT_S)
    before_last = span_at(meter.per, span.start_s - 1).start_s
    connection.execute(delete(budget_grants).where(over, table.window_start_s < before_last))
    spent = recorded(connection, meter, span)
    _hold(connection, meter.name, span.start_s, BEFORE, spent, known=False)
    return {BEFORE: spent}


def _hold(connection: Connection, name: str, start_s: int, gateway: str, held: Amount, *, known: bool) -> None:
    table = budget_grants.c
    values = {"granted_nusd": held.nusd, "granted_tokens": held.tokens}
    if known:
        of_gateway = (table.budget == name) & (table.window_start_s == start_s) & (table.gateway == gateway)
        connection.execute(update(budget_grants).where(of_gateway).values(**values))
    else:
        where = {"budget": name, "window_start_s": start_s, "gateway": gateway}
        connection.execute(insert(budget_grants).values(**where, **values))


def _recorded_by_window(connection: Connection, gateway: str, now_s: float) -> dict[tuple[str, int], Amount]:
    """(budget, start of window) -> what the gateway's recorded queries cost; only windows that are not over."""
    table = budget_grants.c
    rows = connection.execute(select(table.budget, table.window_start_s).where(table.gateway == gateway)).all()
    used = {}
    for name, start_s in rows:
        meter = Meter.of_name(name)
        span = span_at(meter.per, start_s)
        if span.end_s > now_s:
            used[name, start_s] = recorded_by(connection, meter, span, gateway)
    return used


def _charge(connection: Connection, gateway: str, used: dict[tuple[str, int], Amount]) -> None:
    for (name, start_s), amount in used.items():
        _hold(connection, name, start_s, gateway, amount, known=True)
