"""What changes answers changes the fingerprint, and nothing else does."""

import pytest

from serve_app.cache import Fingerprint
from serve_app.config import Settings
from serve_app.core import Attempt, EngineInfo, Usage

RATES = {"input_usd_per_mtok": "1", "output_usd_per_mtok": "1"}
PRICES = {"version": "1", "models": {"small": RATES, "other": RATES}}


def make(**sections):
    fields = {"specialists": {"model": "small"}, "fallback": {"model": "small"}, "prices": PRICES, **sections}
    return Fingerprint(Settings.model_validate(fields))


def attempt(version, node="specialists", adapter="legal"):
    return Attempt(node, "small", adapter, "accepted", Usage(), 1.0, version)


@pytest.mark.parametrize(
    ("sections", "same"),
    [
        ({}, True),
        ({"gateway": {"max_in_flight": 7}}, True),
        ({"cache": {"enabled": True}}, True),
        ({"prices": {**PRICES, "version": "2"}}, True),
        ({"cascade": {"threshold": 0.123}}, False),
        ({"specialists": {"model": "other"}}, False),
        ({"fallback": {"model": "small", "max_tokens": 9}}, False),
    ],
)
def test_settings_that_decide_answers_count(sections, same):
    assert (make(**sections).value == make().value) is same


def test_greedy_by_default_needs_both_nodes():
    assert make().greedy_by_default
    assert not make(specialists={"model": "small", "temperature": 0.5}).greedy_by_default
    assert not make(fallback={"model": "small", "temperature": 0.5}).greedy_by_default


def test_a_new_adapter_version_is_seen_in_answers():
    found = make()
    found.answered([attempt("v1")])
    first = found.value
    found.answered([attempt("v1"), attempt("v9", node="cache"), attempt(None), attempt("v9", adapter=None)])
    assert found.value == first
    found.answered([attempt("v2")])
    assert found.value != first
    found.answered([attempt("v1")])
    assert found.value == first


def test_a_new_adapter_version_is_seen_in_what_an_engine_says():
    found = make()
    found.serves("specialists", EngineInfo("small", 2048, {"legal": "v1"}))
    first = found.value
    found.answered([attempt("v1")])
    found.serves("specialists", EngineInfo("small", 2048, {"legal": "v1"}, active_rows=3))
    found.serves("fallback", EngineInfo("large", 2048))
    assert found.value != first
    both = found.value
    found.serves("specialists", EngineInfo("small", 2048, {"legal": "v2"}))
    assert found.value != both


def test_what_others_set_counts():
    found = make()
    before = found.value
    found.set("rule", {"threshold": 0.9})
    assert found.value != before
