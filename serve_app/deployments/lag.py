"""How late an event loop runs what is due: user code shares the loop with Serve's own, so it must never block it."""

import asyncio
import time

_STEP_S = 0.005


class Measured:
    """A deployment whose loop can be measured from outside, through its handle."""

    async def loop_lag_ms(self, duration_s: float) -> float:
        """How late this replica's loop was at worst during the next `duration_s` seconds."""
        return await worst_lag_ms(duration_s)


async def worst_lag_ms(duration_s: float) -> float:
    """Sleep in 5 ms steps for `duration_s` and return the largest delay past a step's end, in milliseconds."""
    worst_s = 0.0
    end_s = time.perf_counter() + duration_s
    while (now_s := time.perf_counter()) < end_s:
        await asyncio.sleep(_STEP_S)
        worst_s = max(worst_s, time.perf_counter() - now_s - _STEP_S)
    return worst_s * 1000
