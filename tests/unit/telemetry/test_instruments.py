"""The catalogue of metrics, the bound on label values, the fan-out, the page."""

import re

from hypothesis import given
from hypothesis import strategies as st

from serve_app.telemetry import instruments as its
from serve_app.telemetry.instruments import ALL, Bounded, FanOut
from serve_app.telemetry.prometheus import PrometheusInstruments
from tests.unit.telemetry.memory import MemoryInstruments


def test_names_are_unique_and_say_no_more_than_prometheus_allows():
    assert len({one.name for one in ALL}) == len(ALL) > 30
    for one in ALL:
        assert re.fullmatch(r"[a-z][a-z_]*[a-z]", one.name) and not one.name.endswith("_total")
        assert one.help.endswith(".")
        assert bool(one.buckets) == (one.kind == "histogram")
        assert "replica" not in one.labels  # Ray's gauges carry it
        assert list(one.buckets) == sorted(one.buckets)


@given(st.lists(st.text(max_size=3), max_size=60))
def test_no_label_has_more_values_than_the_bound_and_no_count_is_lost(models):
    memory = MemoryInstruments()
    bounded = Bounded(memory, max_values=5)
    for model in models:
        bounded.add(its.QUERIES, 1, model, "none", "accepted")
    values = {key[1] for key in memory.values} - {"other"}
    assert len(values) <= 5
    assert sum(memory.values.values()) == len(models)
    for model in list(dict.fromkeys(models))[:5]:
        assert memory.values["queries", model, "none", "accepted"] >= 1


def test_each_label_is_bounded_by_itself(memory):
    bounded = Bounded(memory, max_values=1)
    bounded.add(its.TOKENS, 1, "specialists", "prompt")
    bounded.set(its.BUDGET_USED, 0.5, "specialists")
    bounded.observe(its.DURATION, 1.0, "auto")
    bounded.observe(its.DURATION, 1.0, "base")
    assert set(memory.values) == {("tokens", "specialists", "prompt"), ("budget_used_share", "specialists")}
    assert set(memory.observed) == {("query_seconds", "auto"), ("query_seconds", "other")}


def test_all_targets_get_the_same_figures():
    first, second = MemoryInstruments(), MemoryInstruments()
    both = FanOut(first, second)
    both.add(its.QUERIES, 2, "auto", "none", "accepted")
    both.set(its.PENDING, 3)
    both.observe(its.DURATION, 0.1, "auto")
    assert first.values == second.values == {("queries", "auto", "none", "accepted"): 2, ("pending_accounts",): 3}
    assert first.observed == second.observed


def test_the_page_escapes_what_users_named():
    page = PrometheusInstruments()
    page.set(its.BUDGET_USED, 0.5, 'key/a "b"\n/day')
    text, media_type = page.page()
    assert 'headrace_budget_used_share{budget="key/a \\"b\\"\\n/day"} 0.5' in text.decode()
    assert media_type.startswith("text/plain")
