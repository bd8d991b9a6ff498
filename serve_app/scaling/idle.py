"""To zero and back, for a node that may have no replica at all."""

from dataclasses import dataclass

from serve_app.config.scaling import ZeroAims


@dataclass(frozen=True, slots=True)
class Idle:
    """State: when there was demand last. None: never."""

    demand_at_s: float | None = None


def rest(
    aims: ZeroAims, idle: Idle, ongoing: float, calls_per_s: float, warm_up_s: float, now_s: float
) -> tuple[Idle, bool]:
    """The next state, and whether the node may have no replica.

    >>> aims = ZeroAims(idle_s=300, wake_calls=0.5)
    >>> rest(aims, Idle(), ongoing=0, calls_per_s=0.001, warm_up_s=60, now_s=0)   # 0.06 calls in a warm-up
    (Idle(demand_at_s=None), True)
    >>> rest(aims, Idle(), ongoing=0, calls_per_s=0.01, warm_up_s=60, now_s=5)    # 0.6: start before it comes
    (Idle(demand_at_s=5), False)
    >>> rest(aims, Idle(5), ongoing=0, calls_per_s=0, warm_up_s=60, now_s=300)    # 295 s without demand
    (Idle(demand_at_s=5), False)
    """
    if ongoing > 0 or calls_per_s * warm_up_s >= aims.wake_calls:
        return Idle(now_s), False
    return idle, idle.demand_at_s is None or now_s - idle.demand_at_s >= aims.idle_s
