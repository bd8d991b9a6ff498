"""Totals and groups over a time range. All sums are integers, so groups add up to the totals, to the nano-dollar."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from serve_app.core import RequestError
from serve_app.ledger.latency import ERROR_SHARE
from serve_app.ledger.pieces import Piece, pieces
from serve_app.ledger.sums import GROUP_COLUMN, HOUR, read_piece, read_spend
from serve_app.ledger.tables import ledger_days
from serve_app.ledger.totals import Totals

GROUP_KEYS = (*GROUP_COLUMN, HOUR)
"""What `stats` can group by; adapter and model are those that answered. Several may be combined."""


@dataclass(frozen=True, slots=True)
class Spend:
    """What was used up."""

    nusd: int
    """Nano-dollars, shadows included."""
    tokens: int
    """Prompts and answers of all attempts, cached tokens included."""


def check_group_by(group_by: Iterable[str]) -> tuple[str, ...]:
    """The keys, each once, in the order given. Raises RequestError on an unknown one.

    >>> check_group_by(["route", "key", "route"])
    ('route', 'key')
    """
    keys = tuple(dict.fromkeys(group_by))
    for key in keys:
        if key not in GROUP_KEYS:
            raise RequestError(f"group_by has the unknown key {key!r}; use {', '.join(GROUP_KEYS)}.", param="group_by")
    return keys


def read_stats(
    connection: Connection,
    since_s: float | None,
    until_s: float | None,
    group_by: tuple[str, ...],
    key_id: str | None = None,
) -> dict[str, Any]:
    """Totals of the queries with `since_s <= created_at_s < until_s`, and of each group.

    Dearest group first; hours come in their order, named by their start in epoch seconds. `key_id` counts the queries
    of one key only, `sums.NO_KEY` those without a key. Where accounts were pruned, the range widens to whole hours.
    The shape: {"since", "until", "totals": {…}, "groups": [{key: value, …, same as totals}], "price_versions": […],
    "always_large_basis": {"measured": count, "estimated": count}, "percentile_error_share": …}. A price version of None
    is queries not priced.
    """
    totals, groups, versions = Totals(), dict[tuple[Any, ...], Totals](), Counter[str | None]()
    for piece in _pieces(connection, since_s, until_s, by_hour=HOUR in group_by):
        for names, found in read_piece(connection, piece, group_by, key_id).items():
            totals.merge(found)
            groups.setdefault(names[:-1], Totals()).merge(found)
            versions[names[-1]] += found.queries + found.shadows
    return {
        "since": since_s,
        "until": until_s,
        "totals": totals.public(),
        "groups": _ordered(groups, group_by) if group_by else [],
        "price_versions": [version for version, _ in versions.most_common()],
        "always_large_basis": {"measured": totals.measured, "estimated": totals.queries - totals.measured},
        "percentile_error_share": ERROR_SHARE,
    }


def spend(connection: Connection, since_s: float | None, until_s: float | None, key_id: str | None) -> Spend:
    """What the queries of a range used up; `key_id` as in `read_stats`."""
    parts = [read_spend(connection, piece, key_id) for piece in _pieces(connection, since_s, until_s)]
    return Spend(sum(nusd for nusd, _ in parts), sum(tokens for _, tokens in parts))


def _pieces(connection: Connection, since_s: float | None, until_s: float | None, by_hour: bool = False) -> list[Piece]:
    pruned = connection.execute(select(ledger_days.c.day).where(ledger_days.c.pruned_at_s.is_not(None))).scalars()
    return pieces(since_s, until_s, by_hour=by_hour, pruned=set(pruned))


def _ordered(groups: dict[tuple[Any, ...], Totals], group_by: tuple[str, ...]) -> list[dict[str, Any]]:
    """The groups as JSON objects, hours first to last, then the dearest first."""

    def place(item: tuple[tuple[Any, ...], Totals]) -> tuple[int, int, str]:
        names, found = item
        return names[group_by.index(HOUR)] if HOUR in group_by else 0, -found.cost_nusd, str(names)

    return [
        dict(zip(group_by, names, strict=True)) | found.public() for names, found in sorted(groups.items(), key=place)
    ]
