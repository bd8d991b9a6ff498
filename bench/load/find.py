"""The highest rate that a server sustains: the rate is stepped up until the SLO is missed, then halved in on."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

Try = Callable[[float], Awaitable[dict[str, Any]]]
"""Offers a rate for a while; returns `summary.summarise`'s figures."""

_FACTOR = 1.5
_PRECISION = 0.05
_MAX_STEPS = 20


@dataclass(frozen=True, slots=True)
class Step:
    """One rate that was tried."""

    rate: float
    sustained: bool
    share_within_slo: float
    figures: dict[str, Any]


async def find_max(offer: Try, first_rate: float, share: float = 0.99) -> tuple[float, list[Step]]:
    """The highest rate, in requests/s, at which `share` of them is answered within the SLO; and what was tried.

    0 where not even a tenth of the first rate is. Ends after 20 steps, or within 5 % of the limit.
    """
    best, worst, rate = 0.0, None, first_rate
    steps: list[Step] = []
    while len(steps) < _MAX_STEPS:
        figures = await offer(rate)
        within = figures["within_slo"] / max(1, figures["planned"])
        steps.append(Step(rate, within >= share and figures["open_loop"], within, figures))
        if steps[-1].sustained:
            best = rate
        else:
            worst = rate
        if worst is None:
            rate = best * _FACTOR
        elif worst - best <= _PRECISION * worst or worst < first_rate / 10:
            break
        else:
            rate = (best + worst) / 2
    return best, steps
