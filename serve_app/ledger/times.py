"""Units of time; points in time as people write them: `2026-03-01`, `2026-03-01T09:30+01:00`, `24h`, `1767225600`."""

import re
from datetime import UTC, datetime

from serve_app.core import RequestError

HOUR_S = 3600
DAY_S = 86_400
NS_PER_S = 1_000_000_000
_UNIT_S = {"m": 60, "h": HOUR_S, "d": DAY_S, "w": 7 * DAY_S}
_AGO = re.compile(r"(\d{1,6})([mhdw])")
_EPOCH = re.compile(r"\d{9,11}(\.\d*)?")


def parse_time(text: str, now_s: float, param: str) -> float:
    """Seconds since the epoch. A time without a zone is UTC, a date is its midnight, `24h` is that long before now.

    Raises RequestError naming `param`.

    >>> parse_time("2026-01-01", now_s=0, param="since")
    1767225600.0
    >>> parse_time("24h", now_s=100_000, param="since")
    13600.0
    """
    text = text.strip()
    if ago := _AGO.fullmatch(text):
        return float(now_s) - int(ago[1]) * _UNIT_S[ago[2]]
    if _EPOCH.fullmatch(text):
        return float(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise RequestError(
            f"{param} is {text[:40]!r}, which is no time; write 2026-03-01, 2026-03-01T09:30, 24h or 7d.", param=param
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
