"""All near pairs, exactly, and none else."""

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from serve_app.distill.near import groups, near_pairs, near_to, repeats, shingles, similarity

WORDS = st.sampled_from(["card", "pin", "lost", "change", "my", "the", "refund", "please", "rate"])
TEXTS = st.lists(st.lists(WORDS, max_size=6).map(" ".join), max_size=24)
BOUNDS = st.sampled_from([0.3, 0.5, 0.6, 2 / 3, 0.8, 1.0])


def by_comparing_all(texts, bound):
    found = shingles(texts)
    return {(i, j) for i, j in combinations(range(len(texts)), 2) if similarity(found[i], found[j]) >= bound}


@given(TEXTS, BOUNDS)
def test_the_pairs_are_those_of_a_comparison_of_all(texts, bound):
    found = [(pair.first, pair.second) for pair in near_pairs(texts, bound)]
    assert len(found) == len(set(found))
    assert set(found) == by_comparing_all(texts, bound)


@given(TEXTS, BOUNDS)
def test_of_what_stays_no_two_are_near_and_each_that_went_is_near_one_that_stays(texts, bound):
    gone = repeats(texts, bound)
    near = by_comparing_all(texts, bound)
    assert not [pair for pair in near if not gone & set(pair)]
    assert all(any({index, other} in [set(pair) for pair in near] for other in range(index) if other not in gone)
               for index in gone)  # fmt: skip


@given(TEXTS, BOUNDS)
def test_near_texts_share_a_group(texts, bound):
    found = groups(texts, bound)
    assert all(found[first] == found[second] for first, second in by_comparing_all(texts, bound))


def test_a_template_around_each_question_does_not_make_them_near():
    asked = "Which of the topics card, refund or rate is this request about, please:"
    kept = [f"{asked} {'abcdefgh'[index % 8] * 9} {index * 7919}" for index in range(60)]
    assert not list(near_pairs(kept, 0.6))
    assert list(near_pairs(kept[:40], 0.6)), "below the fewest rows nothing is taken for a template"


def test_texts_that_are_all_alike_are_near():
    assert len(repeats(["the very same words"] * 60, 0.9)) == 59


def test_case_and_punctuation_do_not_count_and_short_texts_are_compared_whole():
    assert repeats(["PIN?", "pin", "pins"], 1.0) == {1}


def test_near_to_others():
    assert near_to(["change my pin", "lost card"], ["Change my PIN!", "exchange rate"], 0.9) == {0}
    assert near_to([], ["x"], 0.9) == set()
