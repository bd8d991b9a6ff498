import doctest
import importlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.labelling.texts import bag_f1, bare_code, normalised, stated_verdict

MODULES = ("texts", "scorers.text", "scorers.numeric", "scorers.choice", "scorers.verdict")
MORE = ("scorers.agreement", "scorers.registry", "scorers.judge")


@pytest.mark.parametrize("module", MODULES + MORE)
def test_examples_in_the_docstrings_hold(module):
    found = doctest.testmod(importlib.import_module(f"serve_app.labelling.{module}"))
    assert found.attempted > 0
    assert found.failed == 0


@given(st.text(max_size=60))
def test_normalising_twice_is_normalising_once_where_no_word_is_left_to_drop(text):
    once = normalised(text)
    assert normalised(once) == " ".join(word for word in once.split() if normalised(word))


@given(st.lists(st.sampled_from("abc"), max_size=8), st.lists(st.sampled_from("abc"), max_size=8))
def test_bag_f1_is_symmetric_and_within_bounds(left, right):
    assert bag_f1(left, right) == bag_f1(right, left)
    assert 0 <= bag_f1(left, right) <= 1
    assert left == [] or bag_f1(left, left) == 1


def test_a_fence_that_the_token_limit_cut_off_counts_to_the_end():
    assert bare_code("```python\ndef f():\n    return 1") == "def f():\n    return 1"


def test_a_verdict_inside_a_word_is_none():
    assert stated_verdict("Nobody noted yesterday.") is None
    assert stated_verdict("I know.", ("yes", "no", "maybe")) is None
