"""The threshold keeps its promise, and says what it lacks."""

import doctest

import numpy as np
import pytest
from scipy.stats import binomtest

from serve_app.cache import fitting, likeness
from serve_app.cache.fitting import Fitted, TooFew, data_digest, design_part, fit
from serve_app.cache.pairs import NEVER, Pair, read_pairs, similarities
from serve_app.core import DataError


def draw(rng, num_pairs, steepness=40.0, middle=0.75):
    """Similarities and labels whose risk is known: P(same) rises with the similarity."""
    similarity = rng.uniform(0.4, 1.0, num_pairs)
    return similarity, rng.random(num_pairs) < chance(similarity, steepness, middle)


def chance(similarity, steepness=40.0, middle=0.75):
    return 1 / (1 + np.exp(-steepness * (similarity - middle)))


def true_risk(threshold):
    grid = np.linspace(threshold, 1.0, 2000)
    return float((1 - chance(grid)).mean())


def every_third(num_pairs):
    return np.arange(num_pairs) % 3 == 0


@pytest.mark.simulation
def test_the_stated_risk_is_kept_in_at_least_the_stated_share_of_draws():
    rng, broken, fitted = np.random.default_rng(5), 0, 0
    for _ in range(300):
        found = fit(*draw(rng, 600), 0.05, 0.1, every_third(600))
        if isinstance(found, Fitted):
            fitted += 1
            broken += true_risk(found.threshold) > 0.05
    assert fitted > 250
    assert binomtest(broken, 300, 0.1, alternative="greater").pvalue > 0.01


def test_more_labels_give_more_hits():
    rng = np.random.default_rng(1)
    shares = []
    for num_pairs in (400, 6000):
        found = fit(*draw(rng, num_pairs), 0.05, 0.1, every_third(num_pairs))
        shares.append(found.num_hits / found.num_labels)
    assert shares[0] < shares[1]


def test_labels_of_the_test_part_that_are_no_hits_decide_nothing():
    similarity, same = draw(np.random.default_rng(2), 900)
    design = every_third(900)
    found = fit(similarity, same, 0.05, 0.1, design)
    others = fit(similarity, same & (design | (similarity > found.threshold)), 0.05, 0.1, design)
    assert others == found


@pytest.mark.parametrize(("num_pairs", "share"), [(9, 1.0), (60, 1.0), (200, 0.93)])
def test_too_few_labels_are_refused_with_how_many_are_needed(num_pairs, share):
    same = np.arange(num_pairs) < round(share * num_pairs)
    similarity = np.where(np.arange(num_pairs) % 2 == 0, 0.9, 0.95) + np.linspace(0, 0.01, num_pairs)
    found = fit(similarity, same, 0.05, 0.1, every_third(num_pairs))
    assert isinstance(found, TooFew)
    assert found.num_labels == num_pairs
    assert found.needed_labels is not None
    assert found.needed_labels > num_pairs


def test_questions_that_are_never_the_same_are_refused_for_good():
    found = fit(np.linspace(0.5, 1, 900), np.zeros(900, dtype=bool), 0.05, 0.1, every_third(900))
    assert found == TooFew(900, None)


def test_no_threshold_goes_below_the_least_labelled_pair():
    similarity = np.concatenate([np.linspace(0.7, 1, 300), np.full(300, NEVER)])
    found = fit(similarity, np.ones(600, dtype=bool), 0.05, 0.1, every_third(600))
    assert found.threshold >= 0.7
    assert found.num_hits < 300


def test_order_changes_nothing():
    pairs = [Pair(question=f"q{index}", stored="s", same=index % 2 == 0) for index in range(30)]
    part = design_part(pairs, 0)
    assert part.sum() == 10
    assert data_digest(pairs) == data_digest(pairs[::-1])
    assert (design_part(pairs[::-1], 0) == part[::-1]).all()
    assert (design_part(pairs, 1) != part).any()


def test_similarities_are_those_that_the_cache_would_see(vectors):
    def pair(question, stored):
        return Pair(question=question, stored=stored, same=True)

    rows = [pair(" abc ", "cba"), pair("in 1990", "in 1991"), pair("is it", "isn't it"), pair("abc", "word " * 50)]
    assert similarities(rows, vectors).round(4).tolist() == [1.0, NEVER, NEVER, NEVER]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"question": "a", "stored": "b"}', "pairs.jsonl:1: same: Field required"),
        ('\n{"question": "a", "stored": "b", "same": null}', "pairs.jsonl:2: same"),
        ('{"question": "", "stored": "b", "same": true}', "question"),
        ("", "holds no rows"),
    ],
)
def test_a_bad_pair_names_file_line_and_field(tmp_path, text, message):
    path = tmp_path / "pairs.jsonl"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_pairs(path)


@pytest.mark.parametrize("module", [fitting, likeness])
def test_worked_values_hold(module):
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0
