"""Properties of the autoscaling policy: bounds, no flapping, monotone in load, up at once and down slowly, to zero."""

import doctest
import importlib
import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.config.scaling import EngineAims, EnginePlan, FallbackPlan, Pace, RequestAims, RequestPlan, ZeroAims
from serve_app.core import ConfigError
from serve_app.scaling import (
    Bounds,
    EscalationMeter,
    Load,
    LoadMeter,
    NodeState,
    Traffic,
    WarmUp,
    decide,
    engine_need,
    settle,
    while_cold,
)

AIMS = EngineAims(tokens_per_s=700)
PLANS = (
    EnginePlan(engine=AIMS),
    FallbackPlan(engine=AIMS, pace=Pace(half_life_s=30, margin=0.3)),
    RequestPlan(requests=RequestAims(ongoing=16, per_s=50)),
)


def figures(most: float) -> st.SearchStrategy[float]:
    return st.floats(0, most, allow_nan=False)


loads = st.builds(
    Load,
    replicas=st.integers(0, 12),
    arrivals_per_s=figures(500),
    ongoing=figures(5000),
    tokens_per_s=figures(1e5),
    tokens_in_flight=figures(1e6),
    queue_delay_s=figures(600),
)
traffics = st.none() | st.builds(Traffic, figures(500), figures(1000), figures(1000))
all_bounds = st.builds(lambda low, more: Bounds(low, max(1, low + more)), st.integers(0, 4), st.integers(0, 8))
plans = st.sampled_from(PLANS)
steps = st.lists(st.tuples(figures(120), loads, traffics), min_size=1, max_size=30)


@pytest.mark.parametrize("module", ["hold", "idle", "need", "warmup"])
def test_worked_examples_hold(module: str) -> None:
    result = doctest.testmod(importlib.import_module(f"serve_app.scaling.{module}"))
    assert (result.failed, result.attempted > 0) == (0, True)


@given(plans, all_bounds, steps)
def test_targets_stay_within_bounds_whatever_is_seen(plan, bounds, seen):
    state, now_s = None, 0.0
    for wait_s, load, traffic in seen:
        now_s += wait_s
        state = decide(plan, bounds, state, load, traffic, now_s)
        assert bounds.min_replicas <= state.target <= bounds.max_replicas


@given(plans, all_bounds, loads, traffics, steps)
def test_constant_load_is_followed_in_one_direction_and_then_left_alone(plan, bounds, load, traffic, before):
    state, now_s = None, 0.0
    for wait_s, earlier, was in before:
        now_s += wait_s
        state = decide(plan, bounds, state, earlier, was, now_s)
    targets = []
    for second in range(0, 6000, 15):
        state = decide(plan, bounds, state, load, traffic, now_s + second)
        targets.append(state.target)
    assert all(b <= a for a, b in pairwise(targets))  # up, if at all, at the first decision
    assert len(set(targets[len(targets) * 3 // 4 :])) == 1


@given(st.lists(st.tuples(figures(60), figures(12)), min_size=2, max_size=200))
def test_a_replica_once_added_is_kept_for_a_while_whatever_the_load_does(seen):
    pace, bounds, held, now_s = Pace(), Bounds(1, 8), None, 0.0
    least_s = pace.half_life_s * math.log2(1 + pace.margin)
    added_at_s: dict[int, float] = {}
    for wait_s, need in seen:
        now_s += wait_s
        last, held = held, settle(pace, bounds, held, need, now_s)
        if last is not None and held.target > last.target:
            added_at_s |= dict.fromkeys(range(last.target + 1, held.target + 1), now_s)
        if last is not None and held.target < last.target:
            gone = range(held.target + 1, last.target + 1)
            assert all(now_s - added_at_s.get(replica, -1e9) >= least_s - 1e-6 for replica in gone)


@given(plans, all_bounds, st.lists(st.tuples(figures(120), loads, loads), min_size=1, max_size=30))
def test_more_load_all_along_never_gives_fewer_replicas(plan, bounds, seen):
    less_state: NodeState | None = None
    more_state: NodeState | None = None
    now_s = 0.0
    for wait_s, less, extra in seen:
        now_s += wait_s
        more = Load(*(getattr(less, name) + getattr(extra, name) for name in Load.__slots__))
        less_state = decide(plan, bounds, less_state, less, None, now_s)
        more_state = decide(plan, bounds, more_state, more, None, now_s)
        if bounds.min_replicas > 0:  # warm-ups, which are learnt, may differ
            assert more_state.target >= less_state.target


@given(loads, st.sampled_from(list(Load.__slots__)), figures(1000))
def test_the_need_is_monotone_in_each_figure(load, name, more):
    raised = {key: getattr(load, key) for key in Load.__slots__}
    raised[name] = raised[name] + (math.ceil(more) if name == "replicas" else more)
    assert engine_need(AIMS, Load(**raised)) >= engine_need(AIMS, load)


def test_a_burst_is_met_at_once_and_its_replicas_go_one_by_one():
    pace, bounds = Pace(half_life_s=60, margin=0.1), Bounds(1, 8)
    held = settle(pace, bounds, None, 1.0, 0.0)
    held = settle(pace, bounds, held, 7.5, 2.0)
    assert held.target == 8
    targets = []
    for second in range(4, 400, 2):
        held = settle(pace, bounds, held, 1.0, float(second))
        targets.append(held.target)
    assert targets[:5] == [8] * 5
    assert sorted(set(targets), reverse=True) == [8, 7, 6, 5, 4, 3, 2]
    assert targets[-1] == 2  # one replica full to the brim is not enough: the margin


def test_escalations_are_foreseen_from_queries_before_they_reach_the_fallback():
    plan, bounds = FallbackPlan(engine=EngineAims(tokens_per_s=200, call_tokens=100)), Bounds(1, 8)
    traffic = Traffic(queries_per_s=30, decided=1000, escalated=200)
    assert decide(plan, bounds, None, Load(replicas=1), None, 0.0).target == 1
    assert decide(plan, bounds, None, Load(replicas=1), traffic, 0.0).target == 4  # 30 x 0.2 x 100 / (200 x 0.75)


def test_the_fallback_goes_to_zero_when_idle_and_starts_before_the_first_escalation():
    plan = FallbackPlan(engine=AIMS, zero=ZeroAims(idle_s=100, wake_calls=0.5), warm_up_s=60)
    bounds = Bounds(0, 4)
    quiet, busy = Traffic(0.001, 100, 20), Traffic(1.0, 100, 20)
    state = decide(plan, bounds, None, Load(), quiet, 0.0)
    assert state.target == 0
    state = decide(plan, bounds, state, Load(), busy, 10.0)
    assert (state.target, state.warm_up.remaining_s(30.0)) == (1, 40.0)
    for second in range(12, 110, 2):
        state = decide(plan, bounds, state, Load(replicas=1), quiet, float(second))
        assert state.target == 1
    assert decide(plan, bounds, state, Load(replicas=1), quiet, 111.0).target == 0


def test_a_call_that_waits_wakes_a_node_at_zero():
    state = decide(EnginePlan(engine=AIMS), Bounds(0, 4), None, Load(ongoing=1, tokens_in_flight=100), None, 0.0)
    assert state.target == 1


@given(st.floats(0, 1000), st.floats(0, 100))
def test_a_query_waits_for_a_cold_node_only_where_its_policy_says_so(remaining_s, patience_s):
    assert while_cold("wait", remaining_s, patience_s) == "wait"
    assert while_cold("accept_small", remaining_s, patience_s) == "accept_small"
    assert (while_cold("wait_if_soon", remaining_s, patience_s) == "wait") == (remaining_s <= patience_s)


def test_a_start_that_is_called_off_teaches_nothing():
    called_off = WarmUp(60).seen(replicas=0, target=1, now_s=0).seen(replicas=0, target=0, now_s=10)
    assert called_off == WarmUp(60)


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_a_meter_counts_rate_work_and_delay():
    clock = Clock()
    meter = LoadMeter(call_tokens=100, window_s=15, clock=clock)
    tickets = []
    for _ in range(30):
        clock.now_s += 0.5
        tickets.append(meter.begin())
    assert meter.stats()["arrivals_per_s"] == pytest.approx(2.0)
    assert (meter.stats()["ongoing"], meter.stats()["tokens_in_flight"]) == (30, 3000)
    assert meter.stats()["queue_delay_s"] == pytest.approx(14.5)  # of the oldest that waits
    for ticket in tickets:
        meter.first(ticket)
        meter.end(ticket, prompt_tokens=100, completion_tokens=170)
    assert meter.stats()["ongoing"] == 0
    assert 140 < meter.stats()["tokens_per_s"] / meter.stats()["arrivals_per_s"] < 200
    clock.now_s += 60
    assert meter.stats()["arrivals_per_s"] == meter.stats()["queue_delay_s"] == 0


def test_a_burst_shows_in_the_rate_within_seconds_and_noise_does_not():
    clock = Clock()
    meter = LoadMeter(clock=clock)
    for _ in range(100):
        clock.now_s += 0.25
        meter.begin()
    assert meter.stats()["arrivals_per_s"] == pytest.approx(4, rel=0.1)
    for _ in range(120):
        clock.now_s += 1 / 30
        meter.begin()
    assert meter.stats()["arrivals_per_s"] > 20  # the mean over 15 s alone would say 11


def test_a_gateway_s_meter_counts_escalations_over_a_longer_time():
    clock = Clock()
    meter = EscalationMeter(clock=clock)
    for index in range(20):
        clock.now_s += 1
        meter.arrived()
        meter.decided(index % 4 == 0)
    stats = meter.stats()
    assert (stats["decided"], stats["escalated"]) == (20, 5)
    assert stats["queries_per_s"] == pytest.approx(1.0, rel=0.1)


def test_an_engine_of_unknown_speed_cannot_be_scaled():
    with pytest.raises(ConfigError, match="tokens_per_s"):
        decide(EnginePlan(), Bounds(1, 4), None, Load(replicas=1), None, 0.0)


def test_calls_a_second_alone_may_scale_a_node():
    plan = RequestPlan(requests=RequestAims(per_s=50))
    assert decide(plan, Bounds(1, 8), None, Load(replicas=1, arrivals_per_s=120, ongoing=900), None, 0.0).target == 3


def test_small_answers_kept_for_a_cold_fallback_wake_it():
    clock = Clock()
    meter = EscalationMeter(clock=clock)
    for _ in range(20):
        clock.now_s += 0.5
        meter.arrived()
        meter.withheld()
        meter.decided(False)
    stats = meter.stats()
    assert (stats["decided"], stats["escalated"]) == (20, 20)
    plan = FallbackPlan(engine=AIMS, escalation_prior=0, warm_up_s=2)
    assert decide(plan, Bounds(0, 2), None, Load(), Traffic(**stats), 0.0).target == 1
    assert decide(plan, Bounds(0, 2), None, Load(), Traffic(**(stats | {"escalated": 0.0})), 0.0).target == 0
