"""The recipes on the real public sets: split, disjoint, reproducible."""

import doctest

import pytest

from serve_app.core import DataError
from serve_app.training.specialists import RECIPES, legal, medical, public_sets, recipe, support
from serve_app.training.specialists.public_sets import RoutingTests, normalised, read_records


def test_examples_in_the_docstrings_hold():
    for module in (public_sets, legal, medical, support):
        assert doctest.testmod(module).failed == 0


def test_a_text_inside_a_routing_test_is_found_whatever_its_layout():
    tests = RoutingTests(['Does it end? "The Term ends on May 1."', "unrelated"])
    assert tests.holds("the term ends, on May 1")
    assert tests.without([{"prompt": "The term ends"}, {"prompt": "else"}], "prompt") == [{"prompt": "else"}]
    assert tests.num_dropped == 1


def test_an_unknown_recipe_and_a_missing_file_are_said(tmp_path):
    with pytest.raises(DataError, match="no recipe 'poetry'"):
        recipe("poetry")
    with pytest.raises(DataError, match=r"routing/test.jsonl is missing"):
        recipe("legal")(tmp_path)


@pytest.fixture(scope="module")
def prepared(data_dir):
    return {name: make(data_dir) for name, make in RECIPES.items()}


@pytest.mark.parametrize("name", list(RECIPES))
def test_no_training_text_stands_in_a_routing_test_file(prepared, data_dir, name):
    tests = RoutingTests.read(data_dir)
    if name == "legal":
        trained = "\n".join(normalised(row["prompt"]) for row in prepared[name].train)
        texts = [row["text"] for row in read_records(data_dir, legal.SOURCE) if tests.holds(row["text"])]
        assert not [text for text in texts if normalised(text) in trained]
    else:
        assert not [row for row in prepared[name].train if tests.holds(row["prompt"])]


@pytest.mark.parametrize("name", list(RECIPES))
def test_no_prompt_is_both_trained_on_and_held_out(prepared, name):
    trained = {normalised(row["prompt"]) for row in prepared[name].train}
    assert not trained & {normalised(row["prompt"]) for row in prepared[name].evaluation}


def test_held_out_legal_tasks_and_clauses_never_reach_training(prepared, data_dir):
    trained = "\n".join(normalised(row["prompt"]) for row in prepared["legal"].train)
    unseen = [row for row in read_records(data_dir, legal.SOURCE) if row["task"] in legal.HELD_OUT_TASKS]
    assert not [row for row in unseen if normalised(row["text"]) in trained]
    assert not [row for row in unseen if normalised(row["question"].split("?")[0]) in trained]


def test_a_recipe_gives_the_same_rows_twice(prepared, data_dir):
    assert RECIPES["legal"](data_dir) == prepared["legal"]
