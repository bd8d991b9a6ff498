"""Gateways before one engine with a known number of rows, simulated: no time passes, and each second is the same.

The engine serves the highest priority first, else in order of arrival; a row is held for about `hold_s`, and the first
text comes `first_s` after a query got its row, of a whole answer at the end. The engine may stand still for a while, or
work at another pace.
"""

import heapq
import itertools
import random
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from serve_app.config.gateway import GatewaySettings
from serve_app.core import Overloaded, Tier
from serve_app.gateway.in_flight import InFlight, Place

_RANKS = {"priority": 0, "default": 1, "flex": 2}


@dataclass
class Asked:
    """One query and what became of it."""

    at_s: float
    tier: Tier
    first_text_s: float | None = None
    """After its arrival; None: it was refused."""
    retry_after_s: int | None = None
    left: bool = False
    """Its client gave it up."""


@dataclass
class Row:
    """A query in the engine."""

    asked: Asked
    place: Place
    held: AbstractContextManager[Place]


@dataclass
class Simulation:
    """`offered`: time -> queries a second; `tiers`: their shares."""

    num_rows: int = 16
    hold_s: float = 0.5
    first_s: float = 0.1
    admission: dict[str, Any] = field(default_factory=lambda: {"target_first_token_s": 1.0})
    num_gateways: int = 1
    tiers: dict[Tier, float] = field(default_factory=lambda: {"default": 1.0})
    max_waiting: int = 10_000
    flex_leaves_s: float | None = None
    """Seconds after which a flex query that has no row is given up by its client."""
    whole_share: float = 0.0
    """Of the queries: asked for as a whole answer, whose first text is its end."""
    hold_part: Callable[[random.Random], float] = lambda chance: chance.lognormvariate(-0.125, 0.5)
    """Draws how long a row is held, as a part of `hold_s`; 1 on average."""
    pace: float = 1.0
    """Of the engine: at 2 it takes half the time for each query that gets a row from now on."""
    seed: int = 0
    now_s: float = 0.0

    def __post_init__(self) -> None:
        settings = GatewaySettings.model_validate({"admission": self.admission})
        self.gateways = [InFlight(settings, lambda: self.now_s) for _ in range(self.num_gateways)]
        self._chance, self._numbers = random.Random(self.seed), itertools.count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._waiting: list[tuple[int, int, Row]] = []
        self._busy = 0
        self._stood_s, self._stands_until_s, self._all_stand = 0.0, 0.0, False
        self.asked: list[Asked] = []

    @property
    def capacity(self) -> float:
        """Queries a second that the engine can serve."""
        return self.num_rows / self.hold_s * self.pace

    def run(self, offered: Callable[[float], float], seconds: float) -> "Simulation":
        """Queries arrive until then, at random; all that were admitted are answered."""
        at_s = 0.0
        while (at_s := at_s + self._chance.expovariate(offered(at_s))) < seconds:
            [tier] = self._chance.choices(list(self.tiers), list(self.tiers.values()))
            self.later(at_s, partial(self._arrive, Asked(at_s, tier)))
        while self._events:
            self.now_s, _, happen = heapq.heappop(self._events)
            happen()
        return self

    def stall(self, at_s: float, seconds: float, gateways_too: bool = False) -> None:
        """The engine, or the machine with the gateways, stands still for so long; what it has begun goes on then."""
        self.later(at_s, partial(self._stand, seconds, gateways_too))

    def _stand(self, seconds: float, gateways_too: bool) -> None:
        self._stood_s += seconds
        self._stands_until_s, self._all_stand = self.now_s + seconds, gateways_too

    def good(self, from_s: float, to_s: float, target_s: float, tier: Tier | None = None) -> float:
        """Queries a second whose first text came within the target."""
        return sum(one.first_text_s <= target_s for one in self.admitted(from_s, to_s, tier)) / (to_s - from_s)

    def p99(self, from_s: float, to_s: float, tier: Tier | None = None) -> float:
        """Of the admitted ones' first text, in seconds."""
        times = sorted(one.first_text_s for one in self.admitted(from_s, to_s, tier))
        return times[int(0.99 * len(times))]

    def admitted(self, from_s: float, to_s: float, tier: Tier | None = None) -> Sequence[Any]:
        """Those that arrived in between."""
        return [one for one in self._arrived(from_s, to_s, tier) if one.first_text_s is not None]

    def refused(self, from_s: float, to_s: float, tier: Tier | None = None) -> Sequence[Asked]:
        """Those that arrived in between."""
        return [one for one in self._arrived(from_s, to_s, tier) if one.retry_after_s is not None]

    def _arrived(self, from_s: float, to_s: float, tier: Tier | None) -> list[Asked]:
        return [one for one in self.asked if from_s <= one.at_s < to_s and tier in (None, one.tier)]

    def later(self, at_s: float, happen: Callable[[], None]) -> None:
        """Let something happen."""
        heapq.heappush(self._events, (at_s, next(self._numbers), happen))

    def _work(self, seconds: float, happen: Callable[[], None]) -> None:
        """Let the engine do something that takes so long, and longer if it stands still meanwhile."""
        self._at_work(max(self.now_s, self._stands_until_s) + seconds, self._stood_s, happen)

    def _at_work(self, at_s: float, stood_s: float, happen: Callable[[], None]) -> None:
        def due() -> None:
            if (more_s := self._stood_s - stood_s) > 0:
                self._at_work(self.now_s + more_s, self._stood_s, happen)
            else:
                happen()

        self.later(at_s, due)

    def _arrive(self, asked: Asked) -> None:
        if self._all_stand and self.now_s < self._stands_until_s:
            self.later(self._stands_until_s, partial(self._arrive, asked))
            return
        self.asked.append(asked)
        held = self._chance.choice(self.gateways).enter(asked.tier)
        try:
            row = Row(asked, held.__enter__(), held)
        except Overloaded as error:
            asked.retry_after_s = error.retry_after_s
            return
        if len(self._waiting) >= self.max_waiting:
            self._refuse(row)
            return
        heapq.heappush(self._waiting, (_RANKS[asked.tier], next(self._numbers), row))
        if asked.tier == "flex" and self.flex_leaves_s is not None:
            self.later(self.now_s + self.flex_leaves_s, partial(self._leave, row))
        self._start()

    def _leave(self, row: Row) -> None:
        waiting = [entry for entry in self._waiting if entry[2] is not row]
        if len(waiting) == len(self._waiting):
            return
        self._waiting = waiting
        heapq.heapify(self._waiting)
        row.asked.left = True
        row.place.forget()
        row.held.__exit__(None, None, None)

    def _refuse(self, row: Row) -> None:
        full = Overloaded("The engine is full.")
        try:
            row.held.__exit__(Overloaded, full, None)
        except Overloaded as error:
            row.asked.retry_after_s = error.retry_after_s

    def _start(self) -> None:
        while self._waiting and self._busy < self.num_rows:
            _, _, row = heapq.heappop(self._waiting)
            self._busy += 1
            first_s = self.first_s * self._chance.uniform(0.7, 1.3) / self.pace
            hold_s = max(first_s, self.hold_s * self.hold_part(self._chance) / self.pace)
            if self.whole_share and self._chance.random() < self.whole_share:
                first_s = hold_s
            self._work(first_s, partial(self._first_text, row))
            self._work(hold_s, partial(self._end, row))

    def _first_text(self, row: Row) -> None:
        row.asked.first_text_s = self.now_s - row.asked.at_s
        row.place.first_text()

    def _end(self, row: Row) -> None:
        row.held.__exit__(None, None, None)
        self._busy -= 1
        self._start()
