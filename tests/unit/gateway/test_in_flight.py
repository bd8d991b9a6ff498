"""Places by tier, and when those who got none may come again."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from serve_app.config.gateway import GatewaySettings
from serve_app.core import Overloaded
from serve_app.gateway.expected_wait import ExpectedWait
from serve_app.gateway.in_flight import InFlight, Place


def places(num: int, **admission) -> InFlight:
    return InFlight(GatewaySettings(max_in_flight=num, admission=admission), lambda: 0.0)


def test_places_are_given_back_also_after_an_error():
    one = places(1)
    with pytest.raises(ValueError, match="inside"), one.enter():
        raise ValueError("inside")
    with one.enter(), pytest.raises(Overloaded, match="already answers 1"), one.enter():
        pass
    assert one.num_queries == 0


def admitted(held: ExitStack, in_flight: InFlight, tier: str) -> Iterator[Place]:
    """As many more of a tier as there are places for; none ends before `held` does."""
    while True:
        try:
            yield held.enter_context(in_flight.enter(tier))
        except Overloaded:
            return


def take_all(held: ExitStack, in_flight: InFlight, tier: str) -> int:
    """How many more of a tier are admitted."""
    return len(list(admitted(held, in_flight, tier)))


@pytest.mark.parametrize(("num", "flex", "default"), [(1, 1, 1), (3, 1, 2), (10, 5, 9), (256, 128, 230)])
def test_each_tier_may_fill_its_share_rounded_down(num, flex, default):
    in_flight = places(num)
    with ExitStack() as held:
        taken = list(admitted(held, in_flight, "flex"))
        for place in taken:
            place.first_text()
        assert len(taken) == flex
        assert take_all(held, in_flight, "default") == default - flex
        assert take_all(held, in_flight, "priority") == num - default
    assert in_flight.num_queries == 0
    assert in_flight.num_refused == {"flex": 1, "default": 1, "priority": 1}


def test_shares_are_settings():
    in_flight = places(10, default_share=0.6, flex_share=0.1)
    with ExitStack() as held:
        next(admitted(held, in_flight, "flex")).first_text()
        assert [take_all(held, in_flight, tier) for tier in ("flex", "default", "priority")] == [0, 5, 4]


def test_flex_without_a_text_takes_no_place_of_the_others_but_counts_in_the_bound_of_all():
    in_flight = places(10)
    with ExitStack() as held:
        waiting = list(admitted(held, in_flight, "flex"))
        assert len(waiting) == 5
        assert take_all(held, in_flight, "default") == 5, "max_in_flight holds for all together"
        waiting[0].first_text()
        assert take_all(held, in_flight, "priority") == 0
    with ExitStack() as held:
        assert take_all(held, in_flight, "default") == 9, "all places are given back"


def test_with_a_target_few_flex_queries_wait_until_some_were_in_time():
    in_flight = InFlight(GatewaySettings(admission={"target_first_token_s": 1.0}), lambda: 0.0)
    with ExitStack() as held:
        first = list(admitted(held, in_flight, "flex"))
        assert len(first) == 2
        for place in first:
            place.first_text()
        assert take_all(held, in_flight, "flex") == 3
        assert in_flight.num_refused["flex"] == 2


@pytest.mark.simulation
@pytest.mark.parametrize("default_share", [0.6, 0.9])
@pytest.mark.parametrize("tier", ["flex", "default", "priority"])
def test_after_an_overload_any_tier_by_itself_brings_the_places_back(tier, default_share):
    clock = Seconds()
    admission = {"target_first_token_s": 1.0, "default_share": default_share}
    in_flight = InFlight(GatewaySettings(max_in_flight=16, admission=admission), clock)

    def as_many_as_there_are(tier: str, first_text_s: float) -> None:
        with ExitStack() as held:
            places = list(admitted(held, in_flight, tier))
            clock.now_s += first_text_s
            for place in places:
                place.first_text()

    for _ in range(100):
        as_many_as_there_are("priority", 5.0)
    assert in_flight.places <= 2
    for _ in range(5000):
        as_many_as_there_are(tier, 0.1)
    assert in_flight.places == 16


def test_flex_may_not_have_the_larger_share():
    with pytest.raises(ValueError, match="flex is the first to be refused"):
        GatewaySettings.model_validate({"admission": {"default_share": 0.4}})


def test_the_refusal_of_an_engine_tells_of_the_wait_too():
    in_flight = places(10)
    with pytest.raises(Overloaded, match="engine is full") as caught, in_flight.enter():
        raise Overloaded("The engine is full.", 7)
    assert caught.value.retry_after_s == 7
    assert in_flight.num_refused["default"] == 0


class Seconds:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.mark.parametrize(("refused_per_s", "wait_s"), [(1, 1), (10, 10), (20, 20), (1000, 60)])
def test_the_wait_is_what_the_recently_refused_would_take(refused_per_s, wait_s):
    clock = Seconds()
    wait = ExpectedWait(clock)
    for second in range(30):
        clock.now_s = float(second)
        for _ in range(10):
            wait.served()
        for _ in range(refused_per_s):
            wait.refused("default")
    assert wait.retry_after_s("default") == wait_s
    assert wait.retry_after_s("priority") == 1
    assert wait.retry_after_s("flex") == wait_s
    clock.now_s += 100
    wait.refused("default")
    assert wait.retry_after_s("default") == 1


def test_while_nothing_ends_the_wait_is_as_long_as_that_lasts():
    clock = Seconds()
    wait = ExpectedWait(clock)
    told = []
    for second in (0, 4, 30):
        clock.now_s = float(second)
        wait.refused("default")
        told.append(wait.retry_after_s("default"))
    assert told == [1, 5, 1]
