"""Three times what the engine can do, while it stalls, goes slow for a while, or becomes slower for good."""

from functools import partial
from statistics import mean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.properties import examples
from tests.unit.gateway.queueing import Simulation

pytestmark = pytest.mark.simulation

SLO_S = 2.0
BEGIN_S, END_S = 20.0, 60.0
AGAIN_S = 6.0
"""After a stall: until goodput is what it was."""


def like_the_bench(**about) -> Simulation:
    """As `bench.cluster.overload` has it: most first texts come with the end, and holds are spread by 0.3."""
    return Simulation(**{
        "num_rows": 8, "hold_s": 0.4, "num_gateways": 2, "max_waiting": 64, "flex_leaves_s": 20.0,
        "whole_share": 0.6, "hold_part": lambda chance: chance.uniform(0.7, 1.3),
        "tiers": {"flex": 0.2, "default": 0.6, "priority": 0.2}, "admission": {"target_first_token_s": 1.2},
    } | about)  # fmt: skip


def run(simulation: Simulation, end_s: float = END_S) -> Simulation:
    offered_per_s = 3 * simulation.capacity
    return simulation.run(lambda at_s: offered_per_s, end_s)


def become(simulation: Simulation, at_s: float, **about) -> None:
    """Change the engine at a time."""
    for name, value in about.items():
        simulation.later(at_s, partial(setattr, simulation, name, value))


@settings(max_examples=examples(5))
@given(
    seed=st.integers(0, 1000),
    num_rows=st.sampled_from([8, 12, 16]),
    stall_s=st.floats(0.3, 3.0),
    gateways_too=st.booleans(),
)
def test_a_stall_costs_no_goodput_once_it_is_over(seed, num_rows, stall_s, gateways_too):
    undisturbed, stalled = (like_the_bench(num_rows=num_rows, seed=seed) for _ in range(2))
    stalled.stall(BEGIN_S, stall_s, gateways_too)
    seen = []
    for second in range(int(END_S)):
        stalled.later(second, lambda: seen.extend(gateway.places for gateway in stalled.gateways))
    after_s = BEGIN_S + stall_s + AGAIN_S
    kept, left = (run(one).good(after_s, END_S, SLO_S) for one in (undisturbed, stalled))
    assert left >= 0.9 * kept
    assert stalled.p99(after_s, END_S, "default") <= SLO_S
    assert stalled.p99(12.0, BEGIN_S - SLO_S, "default") <= SLO_S
    assert all(1 <= places <= 256 for places in seen)


@pytest.mark.parametrize("num_rows", [8, 16])
@pytest.mark.parametrize("pace", [0.3, 0.45])
def test_goodput_is_back_soon_after_a_spell_in_which_no_limit_would_have_helped(num_rows, pace):
    again_s, goodput, p99_s = BEGIN_S + 20.0, [], []
    for seed in range(3):
        simulation = like_the_bench(num_rows=num_rows, seed=seed)
        become(simulation, BEGIN_S, pace=pace)
        become(simulation, again_s, pace=1.0)
        run(simulation)
        goodput.append(simulation.good(again_s + AGAIN_S, END_S, SLO_S))
        p99_s.append(simulation.p99(again_s + AGAIN_S, END_S, "default"))
    assert mean(goodput) >= 0.85 * num_rows / simulation.hold_s
    assert max(p99_s) <= SLO_S


@pytest.mark.parametrize("num_rows", [8, 64])
def test_stalls_one_after_another_do_not_wear_the_limit_down(num_rows):
    simulation = like_the_bench(num_rows=num_rows, max_waiting=10_000)
    for number in range(5):
        simulation.stall(BEGIN_S + 2.0 * number, 1.0)
    run(simulation, 50.0)
    assert simulation.good(BEGIN_S + 10.0 + AGAIN_S, 50.0, SLO_S) >= 0.9 * simulation.capacity


@pytest.mark.parametrize(("slower", "target_s"), [({"num_rows": 8}, 1.2), ({"pace": 0.5}, 2.0)])
def test_an_engine_that_has_become_slower_for_good_gets_fewer_places(slower, target_s):
    simulation, seen = like_the_bench(num_rows=16, admission={"target_first_token_s": target_s}), {}
    for at_s in (BEGIN_S, 80.0):
        simulation.later(at_s, lambda at_s=at_s: seen.update({at_s: sum(one.places for one in simulation.gateways)}))
    become(simulation, BEGIN_S, **slower)
    run(simulation, 80.0)
    slo_s = target_s + 0.8
    assert seen[80.0] < 0.8 * seen[BEGIN_S]
    assert simulation.good(50.0, 80.0, slo_s) >= 0.9 * simulation.capacity
    assert simulation.p99(50.0, 80.0, "default") <= slo_s


@pytest.mark.parametrize("num_rows", [4, 16])
def test_few_flex_queries_are_admitted_that_nobody_will_answer(num_rows):
    simulation = run(like_the_bench(num_rows=num_rows), 30.0)
    assert sum(asked.left for asked in simulation.asked) <= 4 * len(simulation.gateways)
    assert len(simulation.refused(0.0, 30.0, "flex")) > 0.9 * len(
        [one for one in simulation.asked if one.tier == "flex"]
    )


def test_flex_alone_keeps_the_engine_busy():
    simulation = run(like_the_bench(num_rows=64, tiers={"flex": 1.0}), 20.0)
    assert simulation.good(10.0, 20.0, SLO_S) >= 0.95 * simulation.capacity
