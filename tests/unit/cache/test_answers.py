"""What is kept of an answer comes back as it was."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.cache import Recording
from serve_app.cache.answers import PackedTokens
from serve_app.core import Answer, Delta, TokenStat, Usage

numbers = st.floats(allow_nan=False)
alternatives = st.lists(st.tuples(st.text(max_size=3), numbers), max_size=3).map(tuple)
tokens = st.lists(
    st.builds(TokenStat, st.integers(0, 2**40), st.text(max_size=4), numbers, numbers, numbers, alternatives)
)


@given(tokens)
def test_packed_tokens_come_back(found):
    assert PackedTokens.pack(found).unpack() == tuple(found)


def test_a_packed_token_is_a_fifth_of_the_objects():
    stats = [TokenStat(index, " word", -0.1 * index, 0.2, 3.0) for index in range(1000)]
    objects = sum(
        sys.getsizeof(stat) + sum(sys.getsizeof(getattr(stat, name)) for name in ("token_id", "logprob"))
        for stat in stats
    )
    assert PackedTokens.pack(stats).num_bytes * 2 < objects


@given(st.lists(st.text(max_size=6), min_size=1, max_size=8), st.integers(1, 3))
def test_an_answer_is_given_again_as_one_delta_a_choice(texts, num_choices):
    recording = Recording(num_choices)
    stats = [TokenStat(index, text, -0.5, 0.1, 1.0) for index, text in enumerate(texts)]
    for choice in range(num_choices):
        for index, stat in enumerate(stats):
            finish = "length" if index == len(stats) - 1 else None
            recording.add(choice, Delta(stat.text, (stat,), finish, Usage(3, 1, index + 1), "v2"))
    kept = recording.answer(Answer("q", 1.0, "auto", "accepted", ()))
    whole = Delta("".join(texts), tuple(stats), "length", Usage(3, 1, len(texts)), "v2")
    assert [choice.delta() for choice in kept.choices] == [whole] * num_choices


@pytest.mark.parametrize("outcome", ["failed", "cancelled", "timed_out", "lost", "escalated", "shadow"])
def test_only_what_ended_well_is_kept(outcome):
    recording = Recording(1)
    recording.add(0, Delta("yes", (), "stop"))
    assert recording.answer(Answer("q", 1.0, "auto", outcome, ())) is None


def test_an_answer_with_an_unfinished_choice_is_not_kept():
    recording = Recording(2)
    recording.add(0, Delta("yes", (), "stop"))
    assert recording.answer(Answer("q", 1.0, "auto", "accepted", ())) is None
    recording.add(1, Delta("ye"))
    assert recording.answer(Answer("q", 1.0, "auto", "accepted", ())) is None


def test_the_attempt_of_a_hit_names_who_answered_and_uses_nothing(answer):
    attempt = answer().attempt(1, 0.5)
    assert (attempt.node, attempt.model, attempt.adapter, attempt.adapter_version) == ("cache", "small", "legal", "v1")
    assert (attempt.role, attempt.outcome, attempt.usage, attempt.choice_index) == ("answer", "accepted", Usage(), 1)
