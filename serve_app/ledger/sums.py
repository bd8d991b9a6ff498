"""Reads sums over a piece of a time range: from the totals where it is whole hours or days, else from the accounts."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, case, func, literal, select

from serve_app.ledger.latency import unpack
from serve_app.ledger.partitions import day_of, of_day
from serve_app.ledger.pieces import Piece
from serve_app.ledger.rollups import NOT_COARSE, NOT_TIMED
from serve_app.ledger.tables import queries, rollup_groups, rollups
from serve_app.ledger.times import HOUR_S
from serve_app.ledger.totals import Totals

GROUP_COLUMN = {
    "route": "route",
    "adapter": "adapter",
    "adapter_version": "adapter_version",
    "model": "model",
    "key": "key_id",
    "outcome": "outcome",
    "tier": "tier",
    "cache": "cache",
}
"""Group key -> its column, in `queries` and in `rollup_groups`."""
HOUR = "hour"
_VERSION = "price_version"
NO_KEY = ""
"""Stands for queries that came without a key; None is all queries."""

Names = tuple[Any, ...]
"""Values of the group keys, then the price version."""


def read_piece(
    connection: Connection, piece: Piece, group_by: tuple[str, ...], key_id: str | None
) -> dict[Names, Totals]:
    """The sums and latencies of each group and price version. Raises SQLAlchemyError."""
    totals: dict[Names, Totals] = defaultdict(Totals)
    for row in connection.execute(_sums(connection, piece, group_by, key_id)):
        totals[_names(row, piece, group_by)].add(row)
    latencies = _counted if piece.span_s == 0 else _unpacked
    for names, ms, first_token_ms in latencies(connection, piece, group_by, key_id):
        totals[names].ms.update(ms)
        totals[names].first_token_ms.update(first_token_ms)
    return totals


def read_spend(connection: Connection, piece: Piece, key_id: str | None) -> tuple[int, int]:
    """Nano-dollars and tokens of a piece, shadows included."""
    [row] = connection.execute(_sums(connection, piece, (), key_id, by_version=False))
    return int(row.cost_nusd), int(row.prompt_tokens) + int(row.completion_tokens)


def _names(row: Row[Any], piece: Piece, group_by: tuple[str, ...]) -> Names:
    """The row's values of the group keys; a piece of accounts lies in one hour, which no column tells."""
    values = iter(row)
    return tuple(_hour_s(piece) if key == HOUR and not piece.span_s else next(values) for key in (*group_by, _VERSION))


def _sums(
    connection: Connection, piece: Piece, group_by: tuple[str, ...], key_id: str | None, *, by_version: bool = True
) -> Select[Any]:
    """Selects the group's values, the price version, and a column for each sum of `Totals`."""
    of_accounts = piece.span_s == 0
    group, row = (queries, queries) if of_accounts else (rollup_groups, rollups)
    count: ColumnElement[int] = literal(1) if of_accounts else rollups.c.num_queries
    counted = group.c.outcome != "shadow"
    escalated: ColumnElement[int] = rollups.c.num_escalated
    measured: ColumnElement[int] = rollups.c.num_measured
    if of_accounts:
        escalated = case((queries.c.escalated, 1), else_=0)
        measured = case((and_(counted, queries.c.always_large_basis == "measured"), 1), else_=0)
    sums = {
        "queries": case((counted, count), else_=0),
        "shadows": case((counted, 0), else_=count),
        "lost": case((group.c.outcome == "lost", count), else_=0),
        "attempts": row.c.num_attempts,
        "cache_hits": case((and_(counted, group.c.cache.is_not(None)), count), else_=0),
        "escalated": escalated,
        "measured": measured,
    }
    same_name = (
        "prompt_tokens", "cached_tokens", "completion_tokens", "busy_ns", "cost_nusd", "always_large_nusd",
        "saved_by_cache_nusd", "saved_by_prefix_nusd", "saved_by_tier_nusd",
    )  # fmt: skip
    sums |= {name: row.c[name] for name in same_name}
    columns = [func.coalesce(func.sum(each), 0).label(name) for name, each in sums.items()]
    keys = _keys(piece, group_by) if by_version else []
    return _from(connection, piece, select(*keys, *columns), group_by, key_id).group_by(*keys)


def _keys(piece: Piece, group_by: tuple[str, ...]) -> list[ColumnElement[Any]]:
    """One column for each value that the database has to tell."""
    group = rollup_groups if piece.span_s else queries
    keys = [
        rollups.c.start_s if key == HOUR else group.c[GROUP_COLUMN[key]]
        for key in group_by
        if piece.span_s or key != HOUR
    ]
    return [key.label(f"group_{index}") for index, key in enumerate([*keys, group.c.price_version])]


def _hour_s(piece: Piece) -> int:
    """Start of the hour that a piece of accounts lies in."""
    if piece.since_s is not None:
        return math.floor(piece.since_s / HOUR_S) * HOUR_S
    if piece.until_s is None:
        raise ValueError("a piece of accounts has an end")
    return math.floor(piece.until_s / HOUR_S) * HOUR_S


def _is_coarse(piece: Piece, group_by: tuple[str, ...], key_id: str | None) -> bool:
    """Whether coarse groups tell enough; only hours have them."""
    needed = {GROUP_COLUMN[key] for key in group_by if key != HOUR} | ({"key_id"} if key_id is not None else set())
    return piece.span_s == HOUR_S and needed.isdisjoint(NOT_COARSE)


def _from(
    connection: Connection, piece: Piece, statement: Select[Any], group_by: tuple[str, ...], key_id: str | None
) -> Select[Any]:
    """Adds the tables, the range and the key."""
    if piece.span_s == 0:
        time, key = queries.c.created_at_s, queries.c.key_id
        statement = statement.select_from(queries).where(*of_day(connection, day_of(_hour_s(piece))))
    else:
        time, key = rollups.c.start_s, rollup_groups.c.key_id
        joined = rollups.join(rollup_groups, rollups.c.group_id == rollup_groups.c.group_id)
        coarse = rollups.c.coarse == _is_coarse(piece, group_by, key_id)
        statement = statement.select_from(joined).where(coarse, rollups.c.span_s == piece.span_s)
    if piece.since_s is not None:
        statement = statement.where(time >= piece.since_s)
    if piece.until_s is not None:
        statement = statement.where(time < piece.until_s)
    if key_id is None:
        return statement
    return statement.where(key.is_(None) if key_id == NO_KEY else key == key_id)


Latencies = Iterator[tuple[Names, Counter[int], Counter[int]]]


def _unpacked(connection: Connection, piece: Piece, group_by: tuple[str, ...], key_id: str | None) -> Latencies:
    """From the counts that the totals hold: joined as bytes, added up once per group."""
    columns = (rollups.c.ms_histogram, rollups.c.first_token_histogram)
    statement = _from(connection, piece, select(*_keys(piece, group_by), *columns), group_by, key_id)
    packed: dict[Names, tuple[list[bytes], list[bytes]]] = defaultdict(lambda: ([], []))
    for row in connection.execute(statement.where(rollup_groups.c.outcome.not_in(NOT_TIMED))):
        ms, first_token_ms = packed[_names(row, piece, group_by)]
        ms.append(row.ms_histogram)
        first_token_ms.append(row.first_token_histogram)
    for names, (ms, first_token_ms) in packed.items():
        yield names, unpack(b"".join(ms)), unpack(b"".join(first_token_ms))


def _counted(connection: Connection, piece: Piece, group_by: tuple[str, ...], key_id: str | None) -> Latencies:
    """From the buckets of the accounts."""
    keys = _keys(piece, group_by)
    buckets = (queries.c.ms_bucket, queries.c.first_token_bucket)
    statement = _from(connection, piece, select(*keys, *buckets, func.count().label("num")), group_by, key_id)
    statement = statement.where(queries.c.outcome.not_in(NOT_TIMED)).group_by(*keys, *buckets)
    for row in connection.execute(statement):
        timed = Counter({row.first_token_bucket: row.num}) if row.first_token_bucket is not None else Counter()
        yield _names(row, piece, group_by), Counter({row.ms_bucket: row.num}), timed
