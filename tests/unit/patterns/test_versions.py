"""Which conversations a canary answers."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from serve_app.core import Message, Query, SamplingParams
from serve_app.patterns import takes_canary

TEXTS = st.text(max_size=30)
WEIGHTS = st.floats(0, 1)


def query(*turns, key_id=None, query_id="q1"):
    return Query(query_id, "legal", SamplingParams(), tuple(Message(role, text) for role, text in turns), key_id=key_id)


@given(first=TEXTS, key_id=st.none() | TEXTS, low=WEIGHTS, high=WEIGHTS)
def test_a_greater_weight_only_moves_conversations_to_the_canary(first, key_id, low, high):
    low, high = sorted((low, high))
    asked = query(("user", first), key_id=key_id)
    assert takes_canary("legal", asked, low) <= takes_canary("legal", asked, high)


@given(system=TEXTS, first=TEXTS, more=st.lists(TEXTS, max_size=4), weight=WEIGHTS)
def test_all_turns_of_a_conversation_get_one_version(system, first, more, weight):
    opening = (("system", system), ("user", first))
    later = tuple(("assistant" if index % 2 == 0 else "user", text) for index, text in enumerate(more))
    begun, going_on = query(*opening), query(*opening, *later, query_id="q2")
    assert takes_canary("legal", begun, weight) == takes_canary("legal", going_on, weight)


@given(first=TEXTS)
def test_weight_0_is_nobody_and_1_is_everybody(first):
    assert not takes_canary("legal", query(("user", first)), 0)
    assert takes_canary("legal", query(("user", first)), 1)


@pytest.mark.parametrize("weight", [0.01, 0.1, 0.5, 0.93])
def test_the_share_is_about_the_weight(weight):
    num = sum(takes_canary("legal", query(("user", f"question {index}")), weight) for index in range(10_000))
    assert abs(num / 10_000 - weight) < 0.02  # four standard deviations at 0.5


def test_adapters_keys_and_openings_are_told_apart():
    """Each moves conversations to the other side independently of the others."""
    plain = [takes_canary("legal", query(("user", str(index))), 0.5) for index in range(200)]
    other_adapter = [takes_canary("code", query(("user", str(index))), 0.5) for index in range(200)]
    other_key = [takes_canary("legal", query(("user", str(index)), key_id="k"), 0.5) for index in range(200)]
    with_system = [takes_canary("legal", query(("system", ""), ("user", str(index))), 0.5) for index in range(200)]
    assert plain != other_adapter
    assert plain != other_key
    assert plain == with_system  # an empty system turn says as much as none
