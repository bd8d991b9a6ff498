"""Totals of hours and of days, kept up in the transaction that stores the accounts.

One row per span, start and group; a group is one combination of what `stats` can tell apart. A long range by hour would
read many of them, so hours are kept a second time in coarse groups, of which there are ten times fewer. Sums are exact
integers, latencies are counts by bucket. A row of totals is only ever added to.
"""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, bindparam, select, text

from serve_app.ledger.latency import pack, unpack
from serve_app.ledger.tables import rollup_groups, rollups
from serve_app.ledger.times import DAY_S, HOUR_S
from serve_app.store import insert_into

GROUP_COLUMNS = tuple(column.name for column in rollup_groups.columns if column.name != "group_id")
SUM_COLUMNS = tuple(
    column.name for column in rollups.columns if not column.primary_key and not column.name.endswith("_histogram")
)
NOT_COARSE = ("adapter", "adapter_version", "key_id", "tier")
"""Columns that coarse groups leave out: null in them."""
_SPANS = ((False, HOUR_S), (False, DAY_S), (True, HOUR_S))
"""Whether coarse, and the span, of each row that an account adds to."""
NOT_TIMED = ("shadow", "lost")
"""Outcomes whose milliseconds nobody waited for."""

_LOCK_KEY = 0x4865616472616364
"""PostgreSQL advisory lock of whoever adds to the totals."""
_GROUPS_AT_A_TIME = 1000
_HISTOGRAMS = select(rollups.c.group_id, rollups.c.ms_histogram, rollups.c.first_token_histogram).where(
    rollups.c.coarse == bindparam("coarse"),
    rollups.c.span_s == bindparam("span_s"),
    rollups.c.start_s == bindparam("start_s"),
    rollups.c.group_id.in_(bindparam("groups", expanding=True)),
)

Span = tuple[bool, int, int]
"""Whether coarse, span in seconds, start in seconds since the epoch."""
Key = tuple[Span, bytes]
"""Which row of totals: its span and its group."""


@dataclass(slots=True)
class Increase:
    """What some accounts add to one row of totals."""

    sums: Counter[str] = field(default_factory=Counter)
    ms: Counter[int] = field(default_factory=Counter)
    first_token: Counter[int] = field(default_factory=Counter)

    def add(self, row: Mapping[str, Any]) -> None:
        """Add a row of `queries`."""
        own = {
            "num_queries": 1,
            "num_escalated": int(row["escalated"]),
            "num_measured": int(row["outcome"] != "shadow" and row["always_large_basis"] == "measured"),
        }
        for name in SUM_COLUMNS:
            self.sums[name] += own[name] if name in own else row[name]
        if row["outcome"] not in NOT_TIMED:
            self.ms[row["ms_bucket"]] += 1
            if row["first_token_bucket"] is not None:
                self.first_token[row["first_token_bucket"]] += 1


def group_id(values: tuple[str | None, ...]) -> bytes:
    """Names the group that has these values of `GROUP_COLUMNS`: alike in every process."""
    return hashlib.sha256(json.dumps(values, separators=(",", ":")).encode()).digest()[:16]


def increases(rows: Iterable[Mapping[str, Any]]) -> tuple[dict[Key, Increase], dict[bytes, dict[str, Any]]]:
    """What rows of `queries` add to the totals, and the groups that they name."""
    found: dict[Key, Increase] = {}
    ids: dict[tuple[str | None, ...], bytes] = {}
    for row in rows:
        for coarse, span_s in _SPANS:
            values = tuple(None if coarse and name in NOT_COARSE else row[name] for name in GROUP_COLUMNS)
            if (group := ids.get(values)) is None:
                group = ids[values] = group_id(values)
            start_s = math.floor(row["created_at_s"] / span_s) * span_s
            found.setdefault(((coarse, span_s, start_s), group), Increase()).add(row)
    groups = {
        group: {"group_id": group} | dict(zip(GROUP_COLUMNS, values, strict=True)) for values, group in ids.items()
    }
    return found, groups


def add_to_totals(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add newly stored rows of `queries` to their hours and days. Raises SQLAlchemyError."""
    if not rows:
        return
    found, groups = increases(rows)
    if connection.dialect.name == "postgresql":  # latency counts are read, added to and written back: one at a time
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
    connection.execute(insert_into(connection, rollup_groups).on_conflict_do_nothing(), list(groups.values()))
    adding = insert_into(connection, rollups)
    sums = {name: rollups.c[name] + adding.excluded[name] for name in SUM_COLUMNS}
    counts = {name: adding.excluded[name] for name in ("ms_histogram", "first_token_histogram")}
    statement = adding.on_conflict_do_update(index_elements=list(rollups.primary_key.columns), set_=sums | counts)
    connection.execute(statement, list(_totals(connection, found)))


def _totals(connection: Connection, found: dict[Key, Increase]) -> Iterator[dict[str, Any]]:
    """The rows to add: sums to be added by the database, counts added here to those that it holds."""
    held: dict[Key, tuple[bytes, bytes]] = {}
    groups_of: dict[Span, list[bytes]] = {}
    for span, group in found:
        groups_of.setdefault(span, []).append(group)
    for span, groups in groups_of.items():
        coarse, span_s, start_s = span
        for first in range(0, len(groups), _GROUPS_AT_A_TIME):
            some = groups[first : first + _GROUPS_AT_A_TIME]
            of_span = {"coarse": coarse, "span_s": span_s, "start_s": start_s, "groups": some}
            for row in connection.execute(_HISTOGRAMS, of_span):
                held[span, bytes(row.group_id)] = (row.ms_histogram, row.first_token_histogram)
    for (span, group), increase in found.items():
        ms, first_token = held.get((span, group), (b"", b""))
        coarse, span_s, start_s = span
        yield {
            "coarse": coarse,
            "span_s": span_s,
            "start_s": start_s,
            "group_id": group,
            **increase.sums,
            "ms_histogram": _added(ms, increase.ms),
            "first_token_histogram": _added(first_token, increase.first_token),
        }


def _added(packed: bytes, counts: Counter[int]) -> bytes:
    if not counts:
        return packed
    return pack(unpack(packed) + counts if packed else counts)
