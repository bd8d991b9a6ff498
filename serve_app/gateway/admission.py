"""How many queries a gateway answers at once, so that admitted ones get their first token in the time that is aimed at.

The rule is that of DCTCP (Alizadeh et al., "Data Center TCP (DCTCP)", SIGCOMM 2010; RFC 8257) on queries instead of
packets: the limit falls by half of the share that came too late, and rises by a little while nearly all come in time.
A rise by addition and a fall by multiplication let several gateways before the same engines reach equal shares, though
none knows of another (Chiu and Jain, 1989). As in Netflix's concurrency-limits, a limit that is not used is not moved:
idle traffic says nothing of it, and it does not rise beyond what the traffic needs (RFC 7661 says why). Used is one
that the queries in flight come near, or for which a query is refused, be it that its tier may fill a part of it only.

It decides on one cohort of queries after another. Members are all admitted after the last decision, so each decision
has been felt before the next; and it is made when every member has its first text or is late, so no slow one is left
out. Late is already what takes over three quarters of the target: the tail and the swings of the limit need the rest.

A stall of the machine makes whole cohorts late, though the limit was right, and with the few places that are left a
cohort takes long. So the limit that held is kept in mind, as TCP does: up to it the way back is slow start, a place
more for each first text in time, and steps only come beyond (Jacobson, "Congestion Avoidance and Control", 1988). Each
fall lowers what is kept in mind to the middle between before and after, as CUBIC does (RFC 9438, section 4.7): engines
that have become slower for good are not tried at the old limit again and again.

Knows no tiers, no HTTP, no engine.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

_AIM = 0.75
"""Of the target: a member that takes longer is late."""
_COHORT_SIZE = 20
"""Members at the least: with fewer a share is not known to five in a hundred."""
_FEW = 5
"""Members that are decided on when no more come."""
_COHORT_TARGETS = 5
"""Times the target in which a cohort has to fill up; what takes longer is a trickle."""
_LAST_TARGETS = 10
"""Times the target after which even fewer members are decided on: no more may ever come."""
_FIRST_STEP = 0.25
_LEAST_FALL = 0.5
"""Places that late members cost at the least: of few places half of their share would be less than what one cohort in
time adds, and the limit would settle where every cohort has a late one."""
_STEPS_ROOT = 3
"""Steps grow by the first one while the limit rises undisturbed, to this part of its root: in proportion to the limit
they would leave a gateway that has more with more for ever."""
_USED = 0.75
"""Of the limit: a cohort that came near it says something of it."""


@dataclass(slots=True, eq=False)
class Cohort:
    """Queries that are judged together."""

    opened_s: float
    num_members: int = 0
    num_in_time: int = 0
    num_late: int = 0
    peak: int = 0
    """Most queries in flight when a member was admitted."""
    refused: bool = False
    """Whether a query was refused in its time."""

    @property
    def decided(self) -> bool:
        """Whether every member was in time or late."""
        return self.num_members == self.num_in_time + self.num_late


@dataclass(slots=True, eq=False)
class Admitted:
    """A query that waits for its first text. Made by `AdaptiveLimit.admitted`."""

    limit: "AdaptiveLimit"
    started_s: float
    cohort: Cohort | None

    def first_text(self) -> None:
        """It has come. Later calls change nothing."""
        self.limit.settle(self, late=False)

    def refused(self) -> None:
        """The engine has no room for it."""
        self.limit.settle(self, late=True)

    def left(self) -> None:
        """It ended otherwise, and says nothing; unless it was late already."""
        self.limit.settle(self, late=None)


class AdaptiveLimit:
    """The limit of one gateway. For one event loop; `clock` in seconds."""

    def __init__(self, target_s: float, quantile: float, least: int, most: int, clock: Callable[[], float]) -> None:
        """`quantile`: share of the queries whose first text has to come within `target_s`. Begins with `most`."""
        self._target_s, self._aim_s, self._allowed = target_s, _AIM * target_s, 1 - quantile
        self._least, self._most, self._clock = min(least, most), most, clock
        self._limit = float(most)
        self._step = _FIRST_STEP
        self._held = 0.0
        """Places with which a cohort was in time, and less by each fall: up to them the limit comes back fast."""
        self._waiting: dict[Admitted, None] = {}
        """Members without a first text, oldest first."""
        self._cohort = Cohort(clock())

    @property
    def places(self) -> int:
        """Queries that may be in flight now, from `least` to `most`."""
        self._look()
        return int(self._limit)

    def admitted(self, num_in_flight: int) -> Admitted:
        """A query begins; `num_in_flight` counts it."""
        now_s, cohort = self._clock(), self._cohort
        if cohort.num_members >= _COHORT_SIZE and now_s - cohort.opened_s >= self._aim_s / 2:
            return Admitted(self, now_s, None)  # enough: this one shows no more of the last decision
        query = Admitted(self, now_s, cohort)
        cohort.num_members += 1
        cohort.peak = max(cohort.peak, num_in_flight)
        self._waiting[query] = None
        return query

    def refused(self) -> None:
        """A query got no place: more of them would be used."""
        self._cohort.refused = True

    def settle(self, query: Admitted, late: bool | None) -> None:
        """See `Admitted`; None takes it out of its cohort."""
        self._look()
        cohort = query.cohort
        if cohort is None or query not in self._waiting:
            return
        del self._waiting[query]
        if late is None:
            cohort.num_members -= 1
        elif late:
            cohort.num_late += 1
        else:
            cohort.num_in_time += 1
            if self._limit < self._held and self._used(cohort):
                self._limit = min(self._held, self._limit + 1)
        self._look()

    def _look(self) -> None:
        """Count those that are late by now, and decide if there is nothing more to wait for."""
        now_s = self._clock()
        while self._waiting:
            oldest = next(iter(self._waiting))
            if now_s - oldest.started_s <= self._aim_s:
                break
            del self._waiting[oldest]
            self._cohort.num_late += 1
        cohort = self._cohort
        if not cohort.decided:
            return
        age_s = now_s - cohort.opened_s
        full = cohort.num_members >= _COHORT_SIZE and age_s >= self._aim_s / 2
        old = age_s >= _COHORT_TARGETS * self._target_s
        used = self._used(cohort)
        if full or (old and cohort.num_members >= _FEW):
            self._decide(cohort)
        elif old and not cohort.num_members:
            if cohort.refused:  # those that say nothing, and there is nobody whom more of them could make late
                self._rise()
        elif used and age_s >= _LAST_TARGETS * self._target_s:
            self._decide(cohort)
        elif used or not old:
            return
        self._cohort = Cohort(now_s)

    def _used(self, cohort: Cohort) -> bool:
        return cohort.refused or self._is_near(cohort)

    def _is_near(self, cohort: Cohort) -> bool:
        return cohort.peak >= _USED * int(self._limit)

    def _decide(self, cohort: Cohort) -> None:
        late = cohort.num_late / cohort.num_members
        if late > self._allowed:
            if cohort.peak > self._least:  # else no limit would have helped
                reached = self._limit if self._is_near(cohort) else min(self._limit, cohort.peak / _USED)
                self._limit = max(self._least, min(reached * (1 - late / 2), reached - _LEAST_FALL))
                self._held = min(self._held, (reached + self._limit) / 2)
            self._step = _FIRST_STEP
        elif self._used(cohort):
            self._held = max(self._held, min(cohort.peak, self._limit))
            self._rise()

    def _rise(self) -> None:
        self._limit = min(self._most, self._limit + self._step)
        self._step = min(self._step + _FIRST_STEP, max(1, math.sqrt(self._limit) / _STEPS_ROOT))
