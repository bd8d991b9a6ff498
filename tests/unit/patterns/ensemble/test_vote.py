"""The count does not depend on who answers first, and a vote that is stopped early has the winner of the whole one."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.patterns.ensemble.vote import Ballot, is_decided, tally

CONFIDENCES = st.one_of(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.floats(0, 1, allow_subnormal=False))
ANSWERS = st.sampled_from(["4", "6", "7", None])


@st.composite
def ballots(draw, min_size=1, weighted=None):
    rows = draw(
        st.lists(st.tuples(ANSWERS, CONFIDENCES, st.sampled_from([1.0, 0.5, 3.0])), min_size=min_size, max_size=7)
    )
    weighted = draw(st.booleans()) if weighted is None else weighted
    return [
        Ballot(place, answer, confidence, weight * confidence if weighted else 1.0)
        for place, (answer, confidence, weight) in enumerate(rows)
    ]


@given(cast=ballots(), order=st.randoms(use_true_random=False))
def test_the_order_of_the_ballots_makes_no_difference(cast, order):
    shuffled = list(cast)
    order.shuffle(shuffled)
    assert tally(shuffled) == tally(cast)


@given(cast=ballots(min_size=2), data=st.data())
def test_what_is_decided_early_is_what_all_would_have_said(cast, data):
    heard = data.draw(st.integers(1, len(cast) - 1))
    bound = data.draw(st.sampled_from([None, 0.3, 0.5, 0.6, 0.8, 1.0]))
    most_left = math.fsum(max(one.weight, 1.0) for one in cast[heard:])
    late = tally(cast)
    is_escalated = bound is not None and late.share < bound  # then nobody asks who has won
    if is_decided(cast[:heard], most_left, bound) and not is_escalated:
        assert tally(cast[:heard]).winner.answer == late.winner.answer


@given(cast=ballots(min_size=2), data=st.data(), bound=st.sampled_from([0.3, 0.5, 0.6, 0.8, 1.0]))
def test_a_vote_that_is_decided_escalates_as_the_whole_one_does(cast, data, bound):
    heard = data.draw(st.integers(1, len(cast) - 1))
    most_left = math.fsum(max(one.weight, 1.0) for one in cast[heard:])
    if is_decided(cast[:heard], most_left, bound):
        assert (tally(cast[:heard]).share < bound) == (tally(cast).share < bound)


@given(cast=ballots(weighted=False))
def test_a_majority_wins_whatever_the_confidences(cast):
    counts = {answer: sum(one.answer == answer for one in cast) for answer in {one.answer for one in cast} - {None}}
    found = tally(cast)
    if counts:
        assert counts[found.winner.answer] == max(counts.values()) == found.num_agreeing
        assert found.share == pytest.approx(found.num_agreeing / len(cast))
    assert 0 <= found.share <= 1


def test_ties_go_to_summed_confidence_and_then_to_the_first_member():
    assert tally([Ballot(0, "a", 0.1), Ballot(1, "b", 0.9)]).winner.place == 1
    assert tally([Ballot(1, "b", 0.5), Ballot(0, "a", 0.5)]).winner.place == 0


def test_abstentions_lower_the_share_and_win_nothing():
    found = tally([Ballot(0, None, 1.0), Ballot(1, None, 1.0), Ballot(2, "a", 0.1)])
    assert (found.winner.place, found.num_agreeing) == (2, 1)
    assert found.share == pytest.approx(1 / 3)


def test_where_all_abstain_the_surest_is_taken_and_nothing_is_decided_before():
    cast = [Ballot(0, None, 0.2), Ballot(1, None, 0.9)]
    found = tally(cast)
    assert (found.winner.place, found.share, found.num_agreeing) == (1, 0.0, 0)
    assert not is_decided(cast, 1.0)


def test_a_lead_as_large_as_what_is_left_is_not_decided_since_a_tie_may_go_either_way():
    assert not is_decided([Ballot(0, "a", 0.1)], 1.0)
    assert not is_decided([Ballot(0, "a", 0.1), Ballot(1, "b", 0.1), Ballot(2, "a", 0.1)], 1.0)
    assert is_decided([Ballot(0, "a", 0.1), Ballot(1, "b", 0.1), Ballot(2, "a", 0.1), Ballot(3, "a", 0.1)], 1.0)


def test_where_no_answer_can_reach_the_bound_any_more_it_is_decided():
    split = [Ballot(0, "a", 0.1), Ballot(1, "b", 0.1), Ballot(2, "c", 0.1)]
    assert is_decided(split, 1.0, escalate_below=0.6)
    assert not is_decided(split, 1.0, escalate_below=0.5)
