"""What counts as the same answer: pure, and stable under what makes no difference."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.patterns.ensemble.normalise import NORMALISERS, choice, first_line, number, text

TEXTS = st.text(max_size=60)


@pytest.mark.parametrize("name", NORMALISERS)
@given(said=TEXTS)
def test_any_text_gives_something_to_compare_or_nothing(name, said):
    found = NORMALISERS[name](said)
    assert found is None or found.strip() == found != ""
    assert NORMALISERS[name](said) == found


@given(said=TEXTS)
def test_a_normalised_text_is_normal(said):
    found = text(said)
    assert found is None or text(found) == found


@given(
    words=st.lists(st.from_regex(r"\A[a-z]{1,8}\Z"), min_size=1, max_size=6), end=st.sampled_from(["", ".", "!", " "])
)
def test_case_blanks_and_punctuation_make_no_difference(words, end):
    assert text("  ".join(words).upper() + end) == text(" ".join(words)) == " ".join(words)
    assert first_line(f"\n {' '.join(words)}{end}\nand more") == " ".join(words)


@given(value=st.integers(-(10**6), 10**6))
def test_a_number_is_the_same_however_it_is_said(value):
    assert number(f"It is {value}.") == number(f"2 and 2, so **{value:,}**") == str(value)


@given(value=st.integers(10**9, 10**14))
def test_large_numbers_that_differ_are_not_equal(value):
    assert number(str(value)) != number(str(value + 1))
    assert number(f"{value:,}") == number(str(value))


@pytest.mark.parametrize(("said", "other"), [("-3", "3"), ("1.5", "15"), ("C++", "C"), ("1/2", "12"), ("don't", "do")])
def test_what_makes_a_difference_stays(said, other):
    assert text(said) != text(other)


@given(letter=st.sampled_from("ABCDEFGHIJ"), form=st.sampled_from(["{}", "({})", "{}.", "The answer is {}.", "**{}**"]))
def test_a_letter_is_the_same_however_it_is_stated(letter, form):
    assert choice(form.format(letter)) == letter
