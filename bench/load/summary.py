"""What a run came to: counts, latencies from the intended time, goodput within an SLO, and a series by the second."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bench.load.client import Outcome, Outcomes, counted


@dataclass(frozen=True, slots=True)
class Slo:
    """What counts as good, in seconds from the intended time; None: whenever it comes."""

    first_text_s: float | None = None
    total_s: float | None = None

    def kept(self, outcome: Outcome) -> bool:
        """Answered, and in time."""
        return (
            outcome.answered
            and _within(outcome.after_s(outcome.first_text_s), self.first_text_s)
            and _within(outcome.after_s(outcome.done_s), self.total_s)
        )


def _within(seconds: float | None, bound_s: float | None) -> bool:
    return bound_s is None or (seconds is not None and seconds <= bound_s)


def summarise(outcomes: Outcomes, slo: Slo | None = None, skip_s: float = 0.0) -> dict[str, Any]:
    """Figures of the requests intended at `skip_s` (warm-up) or later. Rates are per second of the schedule."""
    slo = slo or Slo()
    planned = [one for one in outcomes.all if one.intended_s >= skip_s]
    seconds = outcomes.seconds - skip_s
    sent = [one for one in planned if one.sent_s is not None]
    answered = [one for one in sent if one.answered]
    refused = [one for one in sent if one.refused]
    failed = [one for one in planned if one.failed]
    good = sum(slo.kept(one) for one in answered)
    capped = sum(one.capped for one in planned)
    return {
        "planned": len(planned),
        "sent": len(sent),
        "answered": len(answered),
        "refused": len(refused),
        "refused_with_retry_after": sum(one.retry_after_s is not None for one in refused),
        "failed_before_first_text": sum(not one.begun for one in failed),
        "failed_after_first_text": sum(one.begun for one in failed),
        "faults": counted(failed),
        "seconds": seconds,
        "offered_per_s": round(len(planned) / seconds, 2),
        "answered_per_s": round(len(answered) / seconds, 2),
        "slo": asdict(slo),
        "within_slo": good,
        "goodput_per_s": round(good / seconds, 2),
        "first_byte_ms": percentiles(answered, lambda one: one.after_s(one.first_byte_s)),
        "first_text_ms": percentiles(answered, lambda one: one.after_s(one.first_text_s)),
        "total_ms": percentiles(answered, lambda one: one.after_s(one.done_s)),
        "refused_ms": percentiles(refused, lambda one: one.after_s(one.done_s)),
        "sent_late_ms": percentiles(sent, lambda one: one.late_s),
        "capped": capped,
        "open_loop": capped == 0,
        "by_second": _series(planned, slo),
    }


def percentiles(outcomes: Sequence[Outcome], seconds: Callable[[Outcome], float | None]) -> dict[str, float]:
    """Milliseconds; empty where there is nothing to count."""
    values = [1e3 * value for one in outcomes if (value := seconds(one)) is not None]
    if not values:
        return {}
    p50, p90, p99, most = np.percentile(values, [50, 90, 99, 100])
    return {"p50": round(p50, 2), "p90": round(p90, 2), "p99": round(p99, 2), "max": round(most, 2)}


def grouped(outcomes: Outcomes, by: Callable[[Outcome], str]) -> dict[str, Outcomes]:
    """The same run in parts, such as `lambda one: one.ask.tier or "default"`."""
    parts: dict[str, list[Outcome]] = {}
    for one in outcomes.all:
        parts.setdefault(by(one), []).append(one)
    return {name: Outcomes(tuple(part), outcomes.seconds, outcomes.began_at_s) for name, part in parts.items()}


def _series(outcomes: Sequence[Outcome], slo: Slo) -> list[dict[str, Any]]:
    """By the second in which they were intended."""
    seconds: dict[int, list[Outcome]] = {}
    for one in outcomes:
        seconds.setdefault(math.floor(one.intended_s), []).append(one)
    return [
        {
            "second": second,
            "sent": sum(one.sent_s is not None for one in part),
            "answered": sum(one.answered for one in part),
            "refused": sum(one.refused for one in part),
            "failed": sum(one.failed for one in part),
            "within_slo": sum(slo.kept(one) for one in part),
            "first_text_p99_ms": percentiles(
                [one for one in part if one.answered], lambda one: one.after_s(one.first_text_s)
            ).get("p99"),
        }
        for second, part in sorted(seconds.items())
    ]
