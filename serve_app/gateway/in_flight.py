"""The places of one gateway replica: who gets one, who is refused, and when those may come again.

A query takes a place while fewer are taken than its tier may fill: all of them for `priority`, a share for `default`,
a smaller one for `flex`. So flex is refused first and priority last, and nobody who was admitted is thrown out. A flex
query that has no text yet takes no place of the others: it waits behind them, and when such ones leave, having waited
for nothing, no crowd may come in their stead. How many may wait so is up to `flex_window.FlexWindow`.
How many places there are is `gateway.max_in_flight`, or what `admission.AdaptiveLimit` makes of it.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import get_args

from serve_app.config.gateway import GatewaySettings
from serve_app.core import Overloaded, Tier
from serve_app.gateway.admission import AdaptiveLimit, Admitted
from serve_app.gateway.expected_wait import ExpectedWait
from serve_app.gateway.flex_window import FlexWaiting, FlexWindow

TIERS: tuple[Tier, ...] = get_args(Tier)


class Place:
    """What a query holds while it is answered. It says when its first text came."""

    def __init__(self, admitted: Admitted | FlexWaiting | None) -> None:
        """None: nobody listens."""
        self._admitted = admitted
        self.has_text = False

    def first_text(self) -> None:
        """It has come. Later calls change nothing."""
        self.has_text = True
        if self._admitted is not None:
            self._admitted.first_text()

    def forget(self) -> None:
        """The engines were not asked, or said nothing of how busy they are."""
        if self._admitted is not None:
            self._admitted.left()

    def engine_full(self) -> None:
        """An engine's own queue has refused it."""
        if self._admitted is not None:
            self._admitted.refused()


class InFlight:
    """Counts the queries being answered. For one event loop."""

    def __init__(self, settings: GatewaySettings, clock: Callable[[], float] = time.monotonic) -> None:
        admission = settings.admission
        self._most = settings.max_in_flight
        self._shares: dict[Tier, float] = {
            "flex": admission.flex_share,
            "default": admission.default_share,
            "priority": 1.0,
        }
        self._limit: AdaptiveLimit | None = None
        self._flex_window: FlexWindow | None = None
        if admission.target_first_token_s is not None:
            self._limit = AdaptiveLimit(
                admission.target_first_token_s, admission.quantile, admission.min_in_flight, self._most, clock
            )
            self._flex_window = FlexWindow(admission.target_first_token_s, clock)
        self._wait = ExpectedWait(clock)
        self.num_queries = 0
        self._flex: set[Place] = set()
        """Of the queries in flight."""
        self.num_refused: Counter[Tier] = Counter(dict.fromkeys(TIERS, 0))
        """By this replica's places; what engines refuse is not counted."""

    @property
    def places(self) -> int:
        """Queries that may be in flight now."""
        return self._most if self._limit is None else self._limit.places

    @contextmanager
    def enter(self, tier: Tier = "default") -> Iterator[Place]:
        """Hold a place. Raises Overloaded where the tier has none left, with the seconds until one may be free.

        Overloaded of an engine, raised inside, gets these seconds too.
        """
        place, answered = self._take(tier), True
        try:
            yield place
            place.first_text()  # an answer without a text counts by its end
        except Overloaded as error:
            answered = False
            place.engine_full()
            self._wait.refused(tier)
            raise Overloaded(str(error), max(error.retry_after_s, self._wait.retry_after_s(tier))) from error
        finally:
            place.forget()
            self.num_queries -= 1
            self._flex.discard(place)
            if answered:
                self._wait.served()

    def _take(self, tier: Tier) -> Place:
        places, taken = self.places, self._taken(tier)
        has_room = taken < max(1, math.floor(self._shares[tier] * places)) and self.num_queries < self._most
        if tier == "flex" and self._flex_window is not None:
            has_room = has_room and self._num_flex_waiting() < self._flex_window.size
        if not has_room:
            self.num_refused[tier] += 1
            self._wait.refused(tier)
            if self._limit is not None:
                self._limit.refused()
            raise Overloaded(self._why(tier, places), self._wait.retry_after_s(tier))
        self.num_queries += 1
        if tier == "flex":  # it waits behind all others: its waiting says nothing of their places
            window = self._flex_window
            place = Place(None if window is None else window.admitted(self._num_flex_waiting() + 1))
            self._flex.add(place)
            return place
        return Place(None if self._limit is None else self._limit.admitted(taken + 1))

    def _taken(self, tier: Tier) -> int:
        """Places that a query of this tier finds taken."""
        if tier == "flex":
            return self.num_queries
        return self.num_queries - self._num_flex_waiting()

    def _num_flex_waiting(self) -> int:
        return sum(not place.has_text for place in self._flex)

    def _why(self, tier: Tier, places: int) -> str:
        if self.num_queries >= places:
            return f"This gateway already answers {self.num_queries} queries; try again later."
        return f"No capacity is left for the {tier} tier now; try again later."
