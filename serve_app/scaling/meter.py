"""What one replica counts for the policy: O(1) per call, read every few seconds. For one event loop."""

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

PROMPT_WEIGHT = 0.3
"""Work of a prompt token in decode tokens: prefill is about three times as fast (`bench.node_speed`)."""
_SURGE_S = 4.0
_DELAY_S = 5.0
"""Seconds over which first-token delays are averaged: a delay that is over must not ask for replicas."""
_LEARN = 0.05
"""Weight of the newest call in the mean work of a call."""


class Window:
    """Sums over the last `window_s` seconds, in a ring of one-second bins."""

    def __init__(self, window_s: float, clock: Callable[[], float]) -> None:
        self._bins: deque[tuple[int, float]] = deque()
        self._window_s, self._clock, self._began_s = window_s, clock, clock()

    def add(self, value: float = 1.0) -> None:
        """Something happened now."""
        now = int(self._clock())
        if self._bins and self._bins[-1][0] == now:
            self._bins[-1] = (now, self._bins[-1][1] + value)
        else:
            self._bins.append((now, value))
        self._forget()

    @property
    def total(self) -> float:
        """Sum over the window."""
        self._forget()
        return sum(value for _, value in self._bins)

    @property
    def per_s(self) -> float:
        """Mean rate over the window, or what the last few seconds alone prove, if that is more.

        Over so short a time a count scatters; two standard deviations less than it is a rate that noise seldom passes,
        and a burst does within seconds. At the start both are over the time since, at least one second.
        """
        seen_s = max(1.0, self._clock() - self._began_s)
        return max(self.total / min(self._window_s, seen_s), self._surge / min(_SURGE_S, seen_s))

    @property
    def _surge(self) -> float:
        since = self._clock() - _SURGE_S
        count = 0.0
        for at_s, value in reversed(self._bins):
            if at_s < since:
                break
            count += value
        return count - 2 * math.sqrt(count)

    def _forget(self) -> None:
        oldest = self._clock() - self._window_s
        while self._bins and self._bins[0][0] < oldest:
            self._bins.popleft()


@dataclass(slots=True, eq=False)
class Ticket:
    """One call in flight. `first_at_s` None: no token yet."""

    begun_at_s: float
    first_at_s: float | None = None


class LoadMeter:
    """Of one engine replica, or of a gateway or router where only calls are counted."""

    def __init__(
        self, call_tokens: float = 100.0, window_s: float = 15.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._call_tokens = call_tokens
        self._arrivals = Window(window_s, clock)
        self._delays_s, self._firsts = Window(_DELAY_S, clock), Window(_DELAY_S, clock)
        self._in_flight: dict[Ticket, None] = {}  # oldest first
        self._waiting: dict[Ticket, None] = {}  # of these, those without a first token

    def begin(self) -> Ticket:
        """A call arrived."""
        ticket = Ticket(self._clock())
        self._arrivals.add()
        self._in_flight[ticket] = self._waiting[ticket] = None
        return ticket

    def first(self, ticket: Ticket) -> None:
        """Its first token came; later calls do nothing."""
        if ticket.first_at_s is None:
            ticket.first_at_s = self._clock()
            self._waiting.pop(ticket, None)
            self._delays_s.add(ticket.first_at_s - ticket.begun_at_s)
            self._firsts.add()

    def end(self, ticket: Ticket, prompt_tokens: int = 0, completion_tokens: int = 0) -> None:
        """It ended, however it ended; the tokens it used teach what a call costs. Prompt tokens: those computed."""
        self._in_flight.pop(ticket, None)
        self._waiting.pop(ticket, None)
        if prompt_tokens or completion_tokens:
            used = PROMPT_WEIGHT * prompt_tokens + completion_tokens
            self._call_tokens += _LEARN * (used - self._call_tokens)

    def stats(self) -> dict[str, float]:
        """The figures of `Load`, of this replica; what Serve's `record_autoscaling_stats` wants."""
        recent = self._firsts.total
        mean_s = self._delays_s.total / recent if recent else 0.0
        oldest = next(iter(self._waiting), None)
        age_s = self._clock() - oldest.begun_at_s if oldest else 0.0
        return {
            "arrivals_per_s": self._arrivals.per_s,
            "ongoing": float(len(self._in_flight)),
            "tokens_per_s": self._arrivals.per_s * self._call_tokens,
            "tokens_in_flight": len(self._in_flight) * self._call_tokens,
            "queue_delay_s": max(mean_s, age_s),
        }


class EscalationMeter:
    """Of one gateway: queries that came, and how many of those that ended were escalated."""

    def __init__(self, window_s: float = 15.0, decided_s: float = 120.0, clock: Callable[[], float] = time.monotonic):
        """`decided_s`: the share is counted over longer than the rate, since it changes more slowly and is noisier."""
        self._queries = Window(window_s, clock)
        self._decided, self._escalated = Window(decided_s, clock), Window(decided_s, clock)

    def arrived(self) -> None:
        """A query was admitted."""
        self._queries.add()

    def decided(self, escalated: bool) -> None:
        """A query ended that could have been escalated."""
        self._decided.add()
        if escalated:
            self._escalated.add()

    def withheld(self) -> None:
        """A query was to be escalated and got the small answer, since the large model has no replica: it is wanted."""
        self._escalated.add()

    def stats(self) -> dict[str, float]:
        """The figures of `Traffic`, of this gateway."""
        return {
            "queries_per_s": self._queries.per_s,
            "decided": self._decided.total,
            "escalated": self._escalated.total,
        }
