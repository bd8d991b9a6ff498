"""How long to leave a server alone: what it asks for itself, and our own waits that double and vary by chance."""

import math
import random
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

_PARTS = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "": 1.0}
_KINDS = ("requests", "tokens")


def jittered_s(retry: int, first_s: float, longest_s: float) -> float:
    """Exponential backoff with full jitter before retry number `retry`, the first being 0.

    After Brooker, "Exponential Backoff And Jitter" (AWS, 2015): any time up to the bound is equally likely, so that
    callers which failed together do not come back together.
    """
    return random.uniform(0.0, min(longest_s, first_s * 2 ** min(retry, 30)))


def retry_after_s(headers: Mapping[str, str], now_s: float | None = None) -> float | None:
    """Seconds that `retry-after-ms` or `retry-after` ask for, as a number or a date; None where neither does.

    >>> retry_after_s({"retry-after": "7"}), retry_after_s({"retry-after-ms": "250"}), retry_after_s({})
    (7.0, 0.25, None)
    >>> retry_after_s({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, now_s=1445412470)
    10.0
    """
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    said = headers.get("retry-after", "").strip()
    seconds = _number(said)
    if seconds is not None:
        return seconds
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - (time.time() if now_s is None else now_s))
    except (ValueError, TypeError, OverflowError):
        return None


def rate_limit_wait_s(headers: Mapping[str, str]) -> float:
    """Seconds until a limit that is used up is renewed, by `x-ratelimit-remaining-*` and `x-ratelimit-reset-*`.

    >>> used_up = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m2.5s"}
    >>> rate_limit_wait_s(used_up), rate_limit_wait_s(used_up | {"x-ratelimit-remaining-requests": "3"})
    (62.5, 0.0)
    """
    waits = [
        duration_s(headers.get(f"x-ratelimit-reset-{kind}", ""))
        for kind in _KINDS
        if _number(headers.get(f"x-ratelimit-remaining-{kind}", "")) == 0
    ]
    return max(waits, default=0.0)


def duration_s(text: str) -> float:
    """A duration as these headers write it; 0 for anything else.

    >>> duration_s("6m0s"), duration_s("120ms"), duration_s("1.5"), duration_s("soon")
    (360.0, 0.12, 1.5, 0.0)
    """
    text = text.strip()
    parts = _PARTS.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return 0.0
    return sum(float(number) * _UNIT_S[unit] for number, unit in parts)


def _number(text: str) -> float | None:
    """A finite number that is not negative."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None
