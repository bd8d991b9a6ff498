"""What queries add to which figures, and how states become gauges and counters."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.core import Answer, Attempt, Usage
from serve_app.telemetry import instruments as its
from serve_app.telemetry.counting import Counting, Sampler
from serve_app.telemetry.instruments import Reading
from tests.unit.telemetry.memory import MemoryInstruments

SMALL = Attempt("specialists", "small", None, "escalated", Usage(10, 4, 3, 0.5), 5.0, cost_nusd=100)
LARGE = Attempt("fallback", "large", None, "accepted", Usage(10, 0, 7, 2.0), 9.0, cost_nusd=900)
ACCOUNT = Answer(
    "q1",
    0.0,
    "auto",
    "accepted",
    (SMALL, LARGE),
    route="legal",
    escalated=True,
    first_token_ms=20.0,
    ms=30.0,
    cost_nusd=1000,
    always_large_nusd=900,
    saved_by_prefix_nusd=40,
)
NUSD = st.integers(-(10**12), 10**12)


def test_a_query_counts_itself_its_attempts_tokens_money_and_times(memory):
    counting = Counting(memory)
    counting.started()
    counting.started()
    counting.finished(ACCOUNT)
    assert {
        ("queries", "auto", "legal", "accepted"): 1,
        ("tier_queries", "default"): 1,
        ("escalations", "legal"): 1,
        ("attempts", "specialists", "escalated"): 1,
        ("attempts", "fallback", "accepted"): 1,
        ("tokens", "specialists", "prompt"): 10,
        ("tokens", "fallback", "completion"): 7,
        ("cached_tokens", "specialists"): 4,
        ("busy_seconds", "fallback"): 2.0,
        ("cost_usd", "fallback"): 900 / 1e9,
        ("always_large_usd",): 900 / 1e9,
        ("savings_usd", "cascade", "lost"): 140 / 1e9,
        ("savings_usd", "prefix", "saved"): 40 / 1e9,
    }.items() <= memory.values.items()
    assert memory.observed == {("first_token_seconds", "auto"): [0.02], ("query_seconds", "auto"): [0.03]}
    assert not [name for name, *_ in memory.values if name == "cached_answers"]
    levels = {reading.instrument: reading.value for reading in counting.levels()}
    assert levels == {its.IN_FLIGHT: 1, its.SAVED: -100 / 1e9}


def test_an_answer_from_the_cache_and_a_flex_query_are_told_apart(memory):
    counting = Counting(memory)
    counting.finished(replace(ACCOUNT, cache="semantic", tier="flex"))
    assert memory.values["cached_answers", "semantic"] == memory.values["tier_queries", "flex"] == 1


@given(st.lists(st.tuples(NUSD, NUSD, NUSD, NUSD, NUSD), max_size=6), NUSD.map(abs))
def test_the_levers_add_up_to_always_large_minus_cost_shadows_included(queries, shadow_nusd):
    memory = MemoryInstruments()
    counting = Counting(memory)
    whole_nusd = -shadow_nusd
    for cost, large, cache, prefix, tier in queries:
        cost, large = abs(cost), abs(large)
        whole_nusd += large - cost
        counting.finished(
            replace(
                ACCOUNT,
                cost_nusd=cost,
                always_large_nusd=large,
                saved_by_cache_nusd=cache,
                saved_by_prefix_nusd=prefix,
                saved_by_tier_nusd=tier,
            )
        )
    counting.shadowed("audit", replace(ACCOUNT, cost_nusd=shadow_nusd), "agrees")
    signs = {"saved": 1, "lost": -1}
    told = sum(value * signs[key[2]] for key, value in memory.values.items() if key[0] == "savings_usd")
    assert told == pytest.approx(whole_nusd / 1e9, abs=1e-6)
    assert [reading.value for reading in counting.levels() if reading.instrument is its.SAVED] == [whole_nusd / 1e9]


def test_a_lost_query_of_a_dead_gateway_and_an_error_answer_are_counted(memory):
    counting = Counting(memory)
    counting.lost(3)
    counting.refused(429)
    assert memory.values["lost_queries",] == 3
    assert memory.values["error_answers", "429"] == 1


def test_counters_without_labels_are_there_before_the_first_query(memory):
    Counting(memory)
    assert memory.values["lost_queries",] == memory.values["unrecorded_queries",] == 0


def test_totals_read_off_become_increments_and_gauges_are_set(memory):
    sampler = Sampler(memory)
    state = {"pending": 5.0, "recorded": 10.0}
    sampler.watch(lambda: [Reading(its.PENDING, state["pending"]), Reading(its.RECORDED, state["recorded"])])
    sampler.sample()
    state |= {"pending": 2.0, "recorded": 13.0}
    sampler.sample()
    assert memory.values == {("pending_accounts",): 2, ("recorded_accounts",): 13}


def test_a_gauge_whose_labels_are_gone_reads_zero_and_comes_back(memory):
    sampler = Sampler(memory)
    readings = [Reading(its.BUDGET_USED, 0.5, ("key/alice/day",)), Reading(its.BUDGET_USED, 0.2, ("total/day",))]
    sampler.watch(lambda: readings)
    sampler.sample()
    alice = readings.pop(0)
    sampler.sample()
    assert memory.values == {("budget_used_share", "key/alice/day"): 0.0, ("budget_used_share", "total/day"): 0.2}
    readings.append(alice)
    sampler.sample()
    assert memory.values["budget_used_share", "key/alice/day"] == 0.5
