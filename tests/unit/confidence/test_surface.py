"""What is counted in a query: finite on any text, bounded in cost, and right on texts counted by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.confidence.surface import HEAD_CHARS, SURFACE, TAIL_CHARS, surface


def named(text: str) -> dict[str, float]:
    return dict(zip(SURFACE, surface(text).tolist(), strict=True))


@given(st.text(st.characters(), max_size=400))
def test_any_text_has_finite_features(text: str) -> None:
    found = surface(text)
    assert found.shape == (len(SURFACE),)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("text", ["", "\ud800", "9" * 5000, "1,,,,2", ",", "\n A. x", "." * 100])
def test_odd_texts_have_finite_features(text: str) -> None:
    assert np.isfinite(surface(text)).all()


def test_names_are_unique() -> None:
    assert len(set(SURFACE)) == len(SURFACE)


def test_numbers_are_counted_by_hand() -> None:
    found = named("In 1999 each of 3 boys paid $1,250.50, or 20% of it.")
    assert (found["years"], found["rates"], found["dollars"], found["percents"]) == (1, 1, 1, 1)
    assert found["log_numbers"] == pytest.approx(np.log1p(4))
    assert found["fractions"] == 1
    assert found["log_largest"] == pytest.approx(np.log1p(1999))
    assert found["log_smallest"] == pytest.approx(np.log1p(3))


def test_choices_are_told_from_the_stem() -> None:
    found = named("Which number is prime?\nA. 8\nB. 9 km\nC. seven\nD. all of the above\nAnswer:")
    assert (found["choices"], found["numeric_choices"], found["choices_with_digits"]) == (4, 2, 2)
    assert (found["choices_of_above"], found["stem_asks"]) == (1, 1)
    assert found["stem_length"] == pytest.approx(np.log1p(len("Which number is prime?")))


def test_a_text_without_choices_has_none() -> None:
    found = named("Write a poem about A. Lincoln and B. Franklin.")
    assert not any(found[name] for name in SURFACE if "choice" in name)


def test_characters_are_shares_and_counts() -> None:
    found = named("AB é {x}")
    assert (found["capitals"], found["beyond_ascii"], found["brackets"]) == (2 / 8, 1 / 8, 2)


def test_only_the_length_of_a_long_text_is_taken_whole() -> None:
    head, tail = "a" * HEAD_CHARS, "b" * TAIL_CHARS
    one, other = (surface(head + filling * 100_000 + tail) for filling in ("7", "?"))
    assert np.array_equal(one, other)
    assert one[0] == pytest.approx(np.log1p(HEAD_CHARS + TAIL_CHARS + 100_000))
