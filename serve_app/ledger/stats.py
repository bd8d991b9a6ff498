"""Totals and groups over a time range: one pass of SQL, then integer sums, so that groups add up to the totals."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import Connection, Select, case, func, select

from serve_app.core import RequestError
from serve_app.ledger.public import usd
from serve_app.ledger.tables import queries

_KEY_COLUMNS = {
    "route": queries.c.route,
    "adapter": queries.c.adapter,
    "model": queries.c.model,
    "key": queries.c.key_id,
    "outcome": queries.c.outcome,
}
GROUP_KEYS = tuple(_KEY_COLUMNS)
"""What `stats` can group by; adapter and model are those that answered. Several may be combined."""

_IS_QUERY = queries.c.outcome != "shadow"
"""Audits and mirrored queries cost money and nobody asked for them: they are in the sums, and not in the counts."""
_SUMS = {
    "queries": func.sum(case((_IS_QUERY, 1), else_=0)),
    "shadows": func.sum(case((_IS_QUERY, 0), else_=1)),
    "attempts": func.sum(queries.c.num_attempts),
    "prompt_tokens": func.sum(queries.c.prompt_tokens),
    "completion_tokens": func.sum(queries.c.completion_tokens),
    "cost_nusd": func.sum(queries.c.cost_nusd),
    "always_large_nusd": func.sum(queries.c.always_large_nusd),
    "escalated": func.sum(case((queries.c.escalated, 1), else_=0)),
    "busy_ns": func.sum(queries.c.busy_ns),
    "measured": func.sum(case((_IS_QUERY & (queries.c.always_large_basis == "measured"), 1), else_=0)),
}


@dataclass(slots=True)
class Totals:
    """Exact sums over some queries; the fields are those of `_SUMS`."""

    queries: int = 0
    shadows: int = 0
    attempts: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_nusd: int = 0
    always_large_nusd: int = 0
    escalated: int = 0
    busy_ns: int = 0
    measured: int = 0

    def add(self, row: Any) -> None:
        """Add a result row that has a column for each field."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + int(getattr(row, field.name)))

    def public(self) -> dict[str, Any]:
        """For JSON. A share or rate of nothing is None. Savings may be negative.

        >>> Totals(queries=4, cost_nusd=300, always_large_nusd=400, escalated=1).public()["saved_share"]
        0.25
        """
        saved_nusd = self.always_large_nusd - self.cost_nusd
        return {
            "queries": self.queries,
            "shadows": self.shadows,
            "attempts": self.attempts,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "cost_usd": usd(self.cost_nusd),
            "always_large_usd": usd(self.always_large_nusd),
            "saved_usd": usd(saved_nusd),
            "saved_share": _share(saved_nusd, self.always_large_nusd),
            "escalated": self.escalated,
            "escalation_rate": _share(self.escalated, self.queries),
            "busy_s": self.busy_ns / 1_000_000_000,
        }


def check_group_by(group_by: Iterable[str]) -> tuple[str, ...]:
    """The keys, each once, in the order given. Raises RequestError on an unknown one.

    >>> check_group_by(["route", "key", "route"])
    ('route', 'key')
    """
    keys = tuple(dict.fromkeys(group_by))
    for key in keys:
        if key not in _KEY_COLUMNS:
            raise RequestError(f"group_by has the unknown key {key!r}; use {', '.join(GROUP_KEYS)}.", param="group_by")
    return keys


def read_stats(
    connection: Connection, since_s: float | None, until_s: float | None, group_by: tuple[str, ...]
) -> dict[str, Any]:
    """Totals of the queries with `since_s <= created_at_s < until_s`, and of each group, dearest group first.

    The shape: {"since", "until", "totals": {…}, "groups": [{key: value, …, same as totals}], "price_versions": […],
    "always_large_basis": {"measured": count, "estimated": count}}. A price version of None is queries not priced.
    """
    totals, groups, versions = Totals(), dict[tuple[Any, ...], Totals](), Counter[str | None]()
    for row in connection.execute(_statement(since_s, until_s, group_by)):
        totals.add(row)
        groups.setdefault(tuple(row[: len(group_by)]), Totals()).add(row)
        versions[row.price_version] += row.queries + row.shadows
    dearest = sorted(groups.items(), key=lambda item: (-item[1].cost_nusd, str(item[0])))
    return {
        "since": since_s,
        "until": until_s,
        "totals": totals.public(),
        "groups": [dict(zip(group_by, names, strict=True)) | group.public() for names, group in dearest]
        if group_by
        else [],
        "price_versions": [version for version, _ in versions.most_common()],
        "always_large_basis": {"measured": totals.measured, "estimated": totals.queries - totals.measured},
    }


def _statement(since_s: float | None, until_s: float | None, group_by: tuple[str, ...]) -> Select[Any]:
    """Sums per group and price version; the versions are merged by the reader."""
    keys = [_KEY_COLUMNS[key].label(f"group_{key}") for key in group_by]
    statement = select(*keys, queries.c.price_version, *(column.label(name) for name, column in _SUMS.items()))
    if since_s is not None:
        statement = statement.where(queries.c.created_at_s >= since_s)
    if until_s is not None:
        statement = statement.where(queries.c.created_at_s < until_s)
    return statement.group_by(*keys, queries.c.price_version)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
