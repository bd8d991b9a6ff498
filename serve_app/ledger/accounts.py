"""Whole accounts: stored once, found by id, listed newest first."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Table, select, text
from sqlalchemy.dialects import sqlite

from serve_app.core import Answer
from serve_app.ledger.partitions import add_days
from serve_app.ledger.rollups import add_to_totals
from serve_app.ledger.rows import answer_of, attempt_rows, query_row
from serve_app.ledger.sums import NO_KEY
from serve_app.ledger.tables import attempts, ledger_days, queries

_DAYS_AT_A_TIME = 32


def insert_accounts(connection: Connection, answers: Mapping[str, Answer]) -> None:
    """Insert the accounts not yet known, with their attempts, and add them to the totals.

    The database says which rows it took: with two writers on PostgreSQL a look-up beforehand could be out of date.
    """
    rows = [query_row(answer) for answer in answers.values()]
    add_days(connection, (row["day"] for row in rows))
    taken = _insert_new(connection, queries, rows)
    new_attempts = [row for query_id in taken for row in attempt_rows(answers[query_id])]
    if new_attempts:
        _insert_new(connection, attempts, new_attempts)
    add_to_totals(connection, [row for row in rows if row["query_id"] in taken])


def _insert_new(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> set[str]:
    """Insert the rows whose primary key is free; returns the ids of their queries.

    PostgreSQL gets them as one JSON parameter: a parameter for each value takes its driver four times as long.
    """
    if connection.dialect.name != "postgresql":
        statement = sqlite.insert(table).on_conflict_do_nothing().returning(table.c.query_id)
        return set(connection.execute(statement, rows).scalars())
    columns = ", ".join(column.name for column in table.columns)
    values = f"json_populate_recordset(NULL::{table.name}, CAST(:rows AS json))"
    command = f"INSERT INTO {table.name} ({columns}) SELECT {columns} FROM {values} ON CONFLICT DO NOTHING"
    inserted = connection.execute(text(f"{command} RETURNING query_id"), {"rows": json.dumps(rows, allow_nan=False)})
    return set(inserted.scalars())


def find_account(connection: Connection, query_id: str) -> Answer | None:
    """The account of that id, or None. Its day is not known, so the newest are tried first."""
    days = list(connection.execute(select(ledger_days.c.day).order_by(ledger_days.c.day.desc())).scalars())
    for first in range(0, len(days), _DAYS_AT_A_TIME):
        some_days = days[first : first + _DAYS_AT_A_TIME]
        of_id = select(queries).where(queries.c.day.in_(some_days), queries.c.query_id == query_id)
        if rows := connection.execute(of_id.limit(1)).all():
            return _with_attempts(connection, rows)[0]
    return None


def recent_accounts(
    connection: Connection, limit: int, before: float | tuple[float, str] | None, key_id: str | None
) -> list[Answer]:
    """At most `limit` accounts, newest first, shadows included; `key_id` as in `stats.read_stats`.

    `before` is where the page before it ended: its last `created_at_s`, or that and the last `query_id`, which tells
    accounts of the same moment apart.
    """
    statement = select(queries).order_by(queries.c.created_at_s.desc(), queries.c.query_id.desc()).limit(limit)
    if isinstance(before, tuple):
        created_at_s, query_id = before
        statement = statement.where(queries.c.created_at_s <= created_at_s)
        statement = statement.where(
            (queries.c.created_at_s < created_at_s) | (queries.c.query_id < query_id),
        )
    elif before is not None:
        statement = statement.where(queries.c.created_at_s < before)
    if key_id is not None:
        statement = statement.where(queries.c.key_id.is_(None) if key_id == NO_KEY else queries.c.key_id == key_id)
    return _with_attempts(connection, connection.execute(statement).all())


def _with_attempts(connection: Connection, rows: Sequence[Row[tuple[object, ...]]]) -> list[Answer]:
    """The accounts of rows of `queries`, in their order."""
    of_query: dict[tuple[int, str], list[Row[tuple[object, ...]]]] = {(row.day, row.query_id): [] for row in rows}
    of_days = attempts.c.day.in_({day for day, _ in of_query})
    statement = select(attempts).where(of_days, attempts.c.query_id.in_([query_id for _, query_id in of_query]))
    for row in connection.execute(statement.order_by(attempts.c.attempt_index)):
        if (found := of_query.get((row.day, row.query_id))) is not None:
            found.append(row)
    return [answer_of(row, of_query[row.day, row.query_id]) for row in rows]
