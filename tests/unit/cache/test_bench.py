"""The bench counts what the cache would do."""

import importlib

import numpy as np
import pytest

from serve_app.cache.pairs import NEVER


@pytest.fixture
def bench(repo, monkeypatch):
    """The bench, which is not installed with the package."""
    monkeypatch.syspath_prepend(str(repo))
    return importlib.import_module("bench.semantic_cache")


def test_each_question_finds_the_nearest_that_may_be_compared(vectors, bench):
    def question(text, *answers):
        return bench.Question(text, frozenset(answers))

    store = [question("in 1990 abc", "x"), question("abd in 1991", "y")]
    new = [question("abc in 1991", "y"), question("zzz", "z"), question("word " * 50, "w")]
    texts = [one.text for one in (*store, *new)]
    asked = bench.nearest(store, new, dict(zip(texts, vectors.vectors(texts), strict=True)))
    assert asked.same.tolist() == [True, False, False]
    assert asked.plain_same.tolist() == [False, False, False]
    assert asked.similarity[0] < asked.plain_similarity[0]
    assert asked.similarity[1:].tolist() == [NEVER, NEVER]


def test_hits_and_errors_are_counted_above_the_threshold(bench):
    similarity = np.array([0.95, 0.9, 0.8, NEVER])
    same = np.array([True, False, True, False])
    row = bench.at_threshold(bench.Asked(similarity, same, similarity, ~same), 0.8)
    assert (row["hits"], row["hit_share"], row["wrong_of_hits"]) == (2, 0.5, 0.5)
    assert row["wrong_of_hits_without_likeness"] == 0.5


def test_where_every_hit_is_wrong_the_tested_rule_refuses_and_the_fixed_one_breaks(bench):
    similarity, same = np.linspace(0.5, 1, 300), np.zeros(300, dtype=bool)
    rules = bench.judged(bench.Asked(similarity, same, similarity, same), 0.05, 5)
    assert (rules["learn_then_test"]["draws_that_answer"], rules["learn_then_test"]["kept"]) == (0, 1.0)
    assert (rules["fixed_0.9"]["draws_that_answer"], rules["fixed_0.9"]["kept"]) == (5, 0.0)
