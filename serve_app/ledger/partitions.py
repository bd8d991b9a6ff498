"""The days that have accounts. On PostgreSQL each has a partition of `queries` and one of `attempts`."""

import math
from collections.abc import Iterable

from sqlalchemy import ColumnElement, Connection, Table, delete, func, select, text, update

from serve_app.ledger.tables import attempts, ledger_days, queries
from serve_app.ledger.times import DAY_S
from serve_app.store import insert_into

_LOCK_KEY = 0x4865616472616365 + 1
"""PostgreSQL advisory lock of whoever makes or drops partitions."""
_PARTITIONED = ("queries", "attempts")
_ROWS_AT_A_TIME = 20_000


def day_of(created_at_s: float) -> int:
    """Days since the epoch, UTC.

    >>> day_of(0.0), day_of(86_399.9), day_of(86_400.0), day_of(-1.0)
    (0, 0, 1, -1)
    """
    return math.floor(created_at_s / DAY_S)


def add_days(connection: Connection, days: Iterable[int]) -> None:
    """Make room for accounts of these days, before the transaction inserts any. Raises SQLAlchemyError.

    A partition is made apart and attached then, so readers go on meanwhile.
    """
    wanted = sorted(set(days))
    known = connection.execute(select(ledger_days.c.day).where(ledger_days.c.day.in_(wanted), _is_kept())).scalars()
    missing = sorted(set(wanted) - set(known))
    if not missing:
        return
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
        for day in missing:
            for table in _PARTITIONED:
                _make_partition(connection, table, day)
    connection.execute(insert_into(connection, ledger_days).on_conflict_do_nothing(), [{"day": day} for day in missing])


def of_day(connection: Connection, day: int) -> list[ColumnElement[bool]]:
    """A condition on `queries` that lets PostgreSQL pass by all other days; SQLite's choice of index needs none."""
    return [queries.c.day == day] if connection.dialect.name == "postgresql" else []


def created_between(since_s: float | None, until_s: float | None, table: Table = queries) -> list[ColumnElement[bool]]:
    """Conditions for `since_s <= created_at_s < until_s`, those of `on_days` included. None leaves an end open."""
    conditions = on_days(table, since_s, until_s)
    if since_s is not None:
        conditions.append(table.c.created_at_s >= since_s)
    if until_s is not None:
        conditions.append(table.c.created_at_s < until_s)
    return conditions


def on_days(table: Table, since_s: float | None, until_s: float | None) -> list[ColumnElement[bool]]:
    """Conditions for the days of that range: they spare PostgreSQL the partitions of all others."""
    conditions: list[ColumnElement[bool]] = []
    if since_s is not None:
        conditions.append(table.c.day >= day_of(since_s))
    if until_s is not None:
        conditions.append(table.c.day <= day_of(until_s))
    return conditions


def kept_days(connection: Connection, before: int) -> list[int]:
    """Days earlier than `before` that hold accounts, oldest first; a pruned one is back when a late account came."""
    has_accounts = select(queries.c.query_id).where(queries.c.day == ledger_days.c.day).exists()
    statement = select(ledger_days.c.day).where(ledger_days.c.day < before, has_accounts)
    return list(connection.execute(statement.order_by(ledger_days.c.day)).scalars())


def drop_some(connection: Connection, day: int, now_s: float) -> int:
    """Delete accounts of a day with their attempts; totals stay. Returns how many went; 0 when none was left.

    PostgreSQL drops the day at once, SQLite at most `_ROWS_AT_A_TIME` accounts, so that other writers get their turn.
    Raises SQLAlchemyError, on PostgreSQL also when long readers hold the tables for seconds: come again later.
    """
    connection.execute(update(ledger_days).where(ledger_days.c.day == day).values(pruned_at_s=now_s))
    if connection.dialect.name == "postgresql":
        return _drop_partitions(connection, day)
    ids = select(queries.c.query_id).where(queries.c.day == day).order_by(queries.c.query_id).limit(_ROWS_AT_A_TIME)
    last_id = connection.execute(select(func.max(ids.subquery().c.query_id))).scalar_one()
    if last_id is None:
        return 0
    connection.execute(delete(attempts).where(attempts.c.day == day, attempts.c.query_id <= last_id))
    return connection.execute(delete(queries).where(queries.c.day == day, queries.c.query_id <= last_id)).rowcount


def _drop_partitions(connection: Connection, day: int) -> int:
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
    connection.execute(text("SET LOCAL lock_timeout = '3s'"))  # writers queue up behind a lock that waits
    of_day = select(func.count()).select_from(queries).where(queries.c.day == day)
    num_queries: int = connection.execute(of_day).scalar_one()
    for table in _PARTITIONED:
        connection.execute(text(f'DROP TABLE IF EXISTS "{table}_day_{day}"'))
    return num_queries


def _is_kept() -> ColumnElement[bool]:
    return ledger_days.c.pruned_at_s.is_(None)


def _make_partition(connection: Connection, table: str, day: int) -> None:
    name = f"{table}_day_{day}"
    if connection.execute(text("SELECT to_regclass(:name)"), {"name": f'"{name}"'}).scalar_one() is not None:
        return
    connection.execute(text(f'CREATE TABLE "{name}" (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)'))
    bounds = f"FOR VALUES FROM ({day}) TO ({day + 1})"
    connection.execute(text(f'ALTER TABLE {table} ATTACH PARTITION "{name}" {bounds}'))
