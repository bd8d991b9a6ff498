"""A time range as whole days, whole hours and what is left at its ends.

Days and hours are read from the totals, the rest from the accounts. Where the accounts of an end were pruned, the whole
hour counts instead.
"""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

from serve_app.ledger.partitions import day_of
from serve_app.ledger.times import DAY_S, HOUR_S


@dataclass(frozen=True, slots=True)
class Piece:
    """`since_s <= time < until_s`, with None for an open end. `span_s` 0 is accounts, within one hour."""

    span_s: int
    since_s: float | None
    until_s: float | None


def pieces(
    since_s: float | None, until_s: float | None, *, by_hour: bool = False, pruned: Collection[int] = ()
) -> list[Piece]:
    """Disjoint pieces that together are the range. `by_hour`: no days; `pruned`: days without accounts.

    From 23:30 on the first day to 02:00 on the third is half an hour of accounts, a day and two hours:

    >>> [(piece.span_s, piece.since_s, piece.until_s) for piece in pieces(84_600, 180_000)]
    [(0, 84600, 86400), (86400, 86400, 172800), (3600, 172800, 180000)]
    >>> pieces(None, None)
    [Piece(span_s=86400, since_s=None, until_s=None)]
    """
    if since_s is not None and until_s is not None and since_s >= until_s:
        return []
    since_s = _widened(since_s, math.floor, pruned)
    until_s = _widened(until_s, math.ceil, pruned)
    first_hour_s = None if since_s is None else math.ceil(since_s / HOUR_S) * HOUR_S
    last_hour_s = None if until_s is None else math.floor(until_s / HOUR_S) * HOUR_S
    if first_hour_s is not None and last_hour_s is not None and first_hour_s > last_hour_s:
        return [Piece(0, since_s, until_s)]
    found = [Piece(0, since_s, first_hour_s)] if since_s != first_hour_s else []
    found += _whole(first_hour_s, last_hour_s, by_hour)
    if until_s != last_hour_s:
        found.append(Piece(0, last_hour_s, until_s))
    return found


def _whole(since_s: int | None, until_s: int | None, by_hour: bool) -> list[Piece]:
    """Of full hours: the hours up to the first midnight, the days, the hours from the last midnight on."""
    if by_hour:
        return _unless_empty(HOUR_S, since_s, until_s)
    first_day_s = None if since_s is None else math.ceil(since_s / DAY_S) * DAY_S
    last_day_s = None if until_s is None else math.floor(until_s / DAY_S) * DAY_S
    if first_day_s is not None and last_day_s is not None and first_day_s > last_day_s:
        return _unless_empty(HOUR_S, since_s, until_s)
    before = _unless_empty(HOUR_S, since_s, first_day_s) if first_day_s is not None else []
    after = _unless_empty(HOUR_S, last_day_s, until_s) if last_day_s is not None else []
    return [*before, *_unless_empty(DAY_S, first_day_s, last_day_s), *after]


def _unless_empty(span_s: int, since_s: int | None, until_s: int | None) -> list[Piece]:
    return [] if since_s is not None and since_s == until_s else [Piece(span_s, since_s, until_s)]


def _widened(time_s: float | None, rounded: Callable[[float], int], pruned: Collection[int]) -> float | None:
    if time_s is None or day_of(time_s) not in pruned:
        return time_s
    return rounded(time_s / HOUR_S) * HOUR_S
