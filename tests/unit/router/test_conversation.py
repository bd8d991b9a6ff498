"""Which texts of a conversation are read, and when its route changes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.core import Message
from serve_app.router.conversation import CLEAR_CHANGE, MAX_TURNS, count_content_words, reading, settle

DEPOSIT = "Can my landlord keep the deposit?"


def user(*turns: str) -> tuple[Message, ...]:
    return tuple(Message("user", turn) for turn in turns)


@pytest.mark.parametrize(
    "turn", ["yes please", "Thanks!", "make it shorter", "Why?", "Can you explain that again in simple words?", "go on"]
)
def test_a_follow_up_without_a_topic_is_skipped(turn: str) -> None:
    assert reading(user(DEPOSIT, turn)) == (DEPOSIT,)


@pytest.mark.parametrize("turn", ["what about my brother?", "and if the judge refuses", "is it contagious?"])
def test_a_turn_that_leans_on_the_topic_is_read_with_it(turn: str) -> None:
    assert reading(user(DEPOSIT, turn)) == (DEPOSIT, f"{DEPOSIT} {turn}")


def test_a_second_leaning_turn_leans_on_the_topic_not_on_the_first_leaning_turn() -> None:
    texts = reading(user(DEPOSIT, "what about my brother?", "and his furniture?"))
    assert texts[-1] == f"{DEPOSIT} and his furniture?"


@pytest.mark.parametrize("turn", ["Name three rivers in France.", "Name one river.", "What time is it in Tokyo?"])
def test_a_turn_with_a_topic_of_its_own_is_read_alone(turn: str) -> None:
    assert reading(user(DEPOSIT, turn))[-1] == turn


def test_system_prompt_and_answers_are_not_read() -> None:
    conversation = (Message("system", "You are a lawyer."), *user("hello cake"), Message("assistant", "Sue the baker!"))
    assert reading(conversation) == ("hello cake",)


def test_only_the_last_turns_are_read() -> None:
    texts = reading(user(*(f"topic{index} subject{index}" for index in range(10))))
    assert texts == tuple(f"topic{index} subject{index}" for index in range(10 - MAX_TURNS, 10))


def test_a_lone_follow_up_is_read_as_it_is_and_no_text_gives_nothing() -> None:
    assert reading(user("yes please")) == ("yes please",)
    assert reading(user(" ")) == ()
    assert reading(()) == ()


def test_words_of_other_scripts_and_code_count_as_a_topic() -> None:
    assert count_content_words("как уволить работника") == 3
    assert count_content_words("??? {} =>") == 1


def test_a_huge_turn_is_cut_to_head_and_tail() -> None:
    (text,) = reading(user("a" * 1_000_000 + " end"))
    assert len(text) < 2_000
    assert text.endswith(" end")


@given(st.lists(st.builds(Message, st.sampled_from(["system", "user", "assistant"]), st.text(max_size=60)), max_size=8))
def test_reading_is_bounded_and_empty_only_without_user_text(turns: list[Message]) -> None:
    texts = reading(turns)
    assert len(texts) <= MAX_TURNS
    assert bool(texts) == any(turn.role == "user" and turn.content.strip() for turn in turns)


def probabilities(*pairs: tuple[float, float]) -> list[np.ndarray]:
    """Of (general, legal)."""
    return [np.array(pair, dtype=np.float32) for pair in pairs]


@pytest.mark.parametrize(
    ("turns", "best"),
    [
        (((0.1, 0.9), (0.6, 0.4)), 1),  # legal, then vaguely general: stays
        (((0.1, 0.9), (0.95, 0.05)), 0),  # legal, then clearly general: changes
        (((0.9, 0.1), (0.4, 0.6)), 1),  # general, then rather legal: changes
        (((0.1, 0.9), (0.6, 0.4), (0.3, 0.7)), 1),  # wavers and comes back
    ],
)
def test_a_route_stays_unless_the_topic_clearly_changes(turns: tuple[tuple[float, float], ...], best: int) -> None:
    assert settle(probabilities(*turns), 0).argmax() == best


def test_without_a_fallback_label_any_change_must_be_clear() -> None:
    turns = probabilities((0.9, 0.1), (1 - CLEAR_CHANGE + 0.05, CLEAR_CHANGE - 0.05))
    assert settle(turns, None).argmax() == 0
