"""Three times what the engine can do, in a simulated queue: what is still answered, how late, and who is refused."""

from statistics import mean

import pytest

from tests.unit.gateway.queueing import Simulation

pytestmark = pytest.mark.simulation

TARGET_S = 1.0
SETTLED_S, END_S = 60.0, 160.0


def overloaded(factor: float = 3.0, **about) -> Simulation:
    simulation = Simulation(**about)
    return simulation.run(lambda at_s: factor * simulation.capacity, END_S)


@pytest.mark.parametrize(
    "about",
    [
        {},
        {"num_gateways": 2},
        {"num_gateways": 2, "seed": 1, "num_rows": 64, "hold_s": 1.0},
        {"num_rows": 8, "hold_s": 0.2, "first_s": 0.05},
        {"num_rows": 128, "hold_s": 2.0},
        {"max_waiting": 16},
    ],
)
def test_at_three_times_capacity_goodput_stays_and_admitted_queries_are_in_time(about):
    simulation = overloaded(**about)
    assert simulation.good(SETTLED_S, END_S, TARGET_S) >= 0.9 * simulation.capacity
    assert simulation.p99(SETTLED_S, END_S) <= TARGET_S
    assert all(one.retry_after_s >= 1 for one in simulation.refused(0, END_S))


def test_without_a_target_the_same_load_makes_every_answer_late():
    simulation = overloaded(admission={})
    assert simulation.good(SETTLED_S, END_S, TARGET_S) < 0.1 * simulation.capacity


def test_the_limit_follows_the_capacity_up_again():
    simulation = Simulation(num_rows=8)

    def offered(at_s):
        simulation_rows = 8 if at_s < 100 else 32
        return 3 * simulation_rows / simulation.hold_s

    simulation.later(100.0, lambda: setattr(simulation, "num_rows", 32))
    simulation.run(offered, 200.0)
    assert simulation.good(160.0, 200.0, TARGET_S) >= 0.9 * 32 / simulation.hold_s


def test_two_gateways_come_to_alike_limits():
    simulation, seen = Simulation(num_gateways=2, num_rows=64), []
    for second in range(int(SETTLED_S), int(END_S)):
        simulation.later(second, lambda: seen.append([gateway.places for gateway in simulation.gateways]))
    simulation.run(lambda at_s: 3 * simulation.capacity, END_S)
    one, other = (mean(places) for places in zip(*seen, strict=True))
    assert max(one, other) <= 2 * min(one, other)


def test_traffic_below_capacity_is_never_refused_and_moves_nothing():
    simulation = overloaded(0.5)
    assert not simulation.refused(0, END_S)
    assert simulation.gateways[0].places == 256


def test_flex_is_refused_first_and_priority_last():
    tiers = {"flex": 1.0, "default": 2.0, "priority": 0.6}
    simulation = overloaded(2.0, tiers=tiers)
    shares = {}
    for tier in tiers:
        num_refused = len(simulation.refused(SETTLED_S, END_S, tier))
        shares[tier] = num_refused / (num_refused + len(simulation.admitted(SETTLED_S, END_S, tier)))
    assert shares["priority"] < 0.05 < shares["default"] < 0.95 < shares["flex"]
    assert simulation.p99(SETTLED_S, END_S, "priority") <= TARGET_S


@pytest.mark.parametrize("seed", range(3))
def test_no_crowd_comes_in_the_stead_of_flex_queries_that_waited_for_nothing(seed):
    simulation = Simulation(
        num_rows=8, hold_s=0.4, num_gateways=2, max_waiting=64, seed=seed, flex_leaves_s=20.0,
        tiers={"flex": 0.2, "default": 0.6, "priority": 0.2}, admission={"target_first_token_s": 1.2},
    )  # fmt: skip
    simulation.run(lambda at_s: 3 * simulation.capacity, 60.0)
    assert simulation.p99(20.0, 40.0, "default") <= 1.5
    assert simulation.good(20.0, 40.0, 2.0) >= 0.9 * simulation.capacity


def test_the_wait_that_is_told_grows_with_the_overload_and_is_longest_for_flex():
    def told(factor, tier):
        simulation = overloaded(factor, tiers={"flex": 1.0, "default": 3.0})
        return mean(one.retry_after_s for one in simulation.refused(SETTLED_S, END_S, tier))

    assert told(1.7, "default") < told(3.0, "default") < told(3.0, "flex")
