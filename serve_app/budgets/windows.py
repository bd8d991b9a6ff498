"""The window that a moment lies in: a minute, a day or a month, in UTC."""

from dataclasses import dataclass
from datetime import UTC, datetime

from serve_app.config.budgets import Window

_FIXED_S = {"minute": 60, "day": 86_400}


@dataclass(frozen=True, slots=True)
class Span:
    """From `start_s` up to, and not including, `end_s`; whole seconds since the epoch."""

    start_s: int
    end_s: int


def span_at(per: Window, moment_s: float) -> Span:
    """The window around a moment, given in seconds since the epoch.

    >>> span_at("minute", 125.9)
    Span(start_s=120, end_s=180)
    >>> span_at("month", 1_772_000_000)                     # 25 February 2026
    Span(start_s=1769904000, end_s=1772323200)
    """
    if per in _FIXED_S:
        length_s = _FIXED_S[per]
        start_s = int(moment_s // length_s) * length_s
        return Span(start_s, start_s + length_s)
    day = datetime.fromtimestamp(moment_s, UTC)
    first = datetime(day.year, day.month, 1, tzinfo=UTC)
    after = datetime(day.year + day.month // 12, day.month % 12 + 1, 1, tzinfo=UTC)
    return Span(int(first.timestamp()), int(after.timestamp()))
