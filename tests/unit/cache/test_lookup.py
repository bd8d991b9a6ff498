"""Which requests are one request."""

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.cache.lookup import lookup_of
from serve_app.core import Message, Query, SamplingParams


def lookup(query, num_choices=1, fingerprint="f", allowed=None, greedy=True):
    return lookup_of(query, num_choices, fingerprint, allowed, greedy)


@pytest.mark.parametrize(
    ("sampling", "greedy", "looked_up"),
    [
        ({"temperature": 0.0}, False, True),
        ({"temperature": None}, True, True),
        ({"temperature": None}, False, False),
        ({"temperature": 0.7}, True, False),
        ({"temperature": 0.7, "seed": 1}, True, False),
    ],
)
def test_only_greedy_queries_are_looked_up(query, sampling, greedy, looked_up):
    assert (lookup(query(**sampling), greedy=greedy) is not None) is looked_up


@pytest.mark.parametrize(
    "changes",
    [
        {"text": "  What is the capital of France?\n"},
        {"seed": 5},
        {"top_p": 0.5},
        {"query_id": "q2"},
        {"created_at_s": 2.0},
        {"traceparent": "00-1-2-01"},
    ],
)
def test_what_asks_for_the_same_is_the_same(query, changes):
    assert lookup(query(**changes)).exact == lookup(query()).exact


def test_composed_and_decomposed_letters_are_the_same(query):
    assert lookup(query("caf\u00e9")).exact == lookup(query("cafe\u0301")).exact


def test_stop_strings_have_no_order(query):
    assert lookup(query(stop=("a", "b"))).exact == lookup(query(stop=("b", "a", "a"))).exact


@pytest.mark.parametrize(
    "changes",
    [
        {"text": "What is the capital of Spain?"},
        {"key_id": "bob"},
        {"key_id": None},
        {"model": "large"},
        {"max_tokens": 5},
        {"stop": ("x",)},
        {"top_logprobs": 2},
        {"tier": "flex"},
        {"temperature": None},
        {"messages": (), "prompt": "What is the capital of France?"},
        {"messages": (Message("system", ""), Message("user", "What is the capital of France?"))},
        {"messages": (Message("assistant", "What is the capital of France?"),)},
    ],
)
def test_what_asks_for_something_else_is_apart_exactly_and_in_context(query, changes):
    one, other = lookup(query(**changes)), lookup(query())
    assert one.exact != other.exact
    assert one.context is None or one.context != other.context or one.question != other.question


def test_choices_fingerprint_and_allowed_models_count(query):
    plain = lookup(query())
    for other in (lookup(query(), 2), lookup(query(), fingerprint="g"), lookup(query(), allowed=["auto"])):
        assert other.exact != plain.exact
        assert other.context != plain.context
    assert lookup(query(), allowed=["a", "b"]) == lookup(query(), allowed=["b", "a"])


@pytest.mark.parametrize("text", ["x ", " x"])
def test_a_raw_prompt_and_a_begun_answer_count_to_the_last_character(query, text):
    assert lookup(query(messages=(), prompt=text)).exact != lookup(query(messages=(), prompt="x")).exact
    begun = [(Message("user", "go on"), Message("assistant", one)) for one in (text, "x")]
    assert lookup(query(messages=begun[0])).exact != lookup(query(messages=begun[1])).exact


def test_single_questions_under_one_system_prompt_share_a_context(query):
    def asked(system, text):
        return lookup(query(messages=(Message("system", system), Message("user", text))))

    one, other, elsewhere = asked("Be brief.", "Who?"), asked("Be brief.", "Where?"), asked("Be long.", "Who?")
    assert one.context == other.context != elsewhere.context
    assert (one.question, other.question) == ("Who?", "Where?")


@pytest.mark.parametrize(
    "changes",
    [
        {"messages": (Message("user", "a"), Message("assistant", "b"), Message("user", "c"))},
        {"messages": (Message("user", "a"), Message("user", "b"))},
        {"messages": (Message("system", "a"),)},
        {"messages": (), "prompt": "a"},
    ],
)
def test_only_a_single_question_has_a_context(query, changes):
    assert lookup(query(**changes)).context is None


@pytest.mark.parametrize("other", ["in 1991", "not in 1990", "in 1,990", "in 1990 and 1990"])
def test_questions_with_other_numbers_or_negations_share_no_context(query, other):
    assert lookup(query("in 1990")).context != lookup(query(other)).context


def test_a_digest_depends_on_every_field_of_a_query_or_says_why_not():
    ignored = {"query_id", "created_at_s", "traceparent", "timeout_s"}
    used = {"model", "sampling", "messages", "prompt", "key_id", "tier"}
    assert {field.name for field in fields(Query)} == ignored | used
    assert {field.name for field in fields(SamplingParams)} == {
        *("max_tokens", "temperature", "stop", "top_logprobs"),
        *("top_p", "seed"),  # change nothing at temperature 0
    }


@given(st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), st.text(max_size=5)), min_size=1))
def test_turns_cannot_run_into_one_another(turns):
    query = Query("q", "auto", SamplingParams(), tuple(Message(role, text) for role, text in turns))
    joined = Query("q", "auto", SamplingParams(), (Message("user", "".join(text for _, text in turns) + "."),))
    assert lookup(query).exact != lookup(joined).exact
