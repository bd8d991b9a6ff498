"""The sequence of thresholds: fixed without labels, and exact although its thresholds are rows of the data."""

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.confidence.risk import Chosen, choose, clopper_pearson_upper
from serve_app.training.cascade import sequence
from serve_app.training.cascade.sequence import every_threshold, fix_sequence, most_wrong, stricter_thresholds

ALPHA, DELTA = 0.1, 0.1
SCORES = st.lists(st.sampled_from([round(0.05 * step, 2) for step in range(1, 20)]), min_size=1, max_size=60)


@settings(deadline=None)
@given(SCORES)
def test_thresholds_fall_and_accept_more_and_more(scores):
    confidence = np.array(scores)
    found = fix_sequence(confidence, confidence, 0.4, 0.4)
    assert (np.diff(found.thresholds) < 0).all()
    assert (found.accepts == (confidence > found.thresholds[:, None])).all()
    assert (np.diff(found.accepts.sum(axis=1)) > 0).all()
    if len(found.thresholds):
        assert found.accepts[-1].all()


@given(SCORES)
def test_every_threshold_accepts_a_different_set(scores):
    counts = [int((np.array(scores) > limit).sum()) for limit in every_threshold(np.array(scores))]
    assert counts[0] == 0
    assert counts[-1] == len(scores)
    assert len(set(counts)) == len(counts)


def test_the_walk_begins_where_the_model_expects_a_pass():
    confidence = np.linspace(0.99, 0.5, 400)
    strict = fix_sequence(confidence, np.full(400, 0.995), 0.05, 0.1)
    assert strict.accepts[0].sum() == 400  # all are expected to be right: the most rows are the surest test
    doubtful = fix_sequence(confidence, confidence, 0.05, 0.1)
    assert 45 <= doubtful.accepts[0].sum() < 200


def test_too_few_rows_for_any_test_give_no_sequence():
    assert len(fix_sequence(np.full(44, 0.9), np.full(44, 0.9), 0.05, 0.1).thresholds) == 0


@given(st.lists(st.integers(0, 300), min_size=1, max_size=20))
def test_most_wrong_is_the_last_count_that_passes(counts):
    allowed = most_wrong(np.array(counts), ALPHA, DELTA)
    for count, wrong in zip(counts, allowed.tolist(), strict=True):
        assert wrong < 0 or clopper_pearson_upper(wrong, count, DELTA) <= ALPHA
        assert wrong + 1 > count or clopper_pearson_upper(wrong + 1, count, DELTA) > ALPHA


def test_stricter_thresholds_step_by_a_twentieth_of_the_rows():
    confidence = np.arange(1, 101) / 101
    steps = stricter_thresholds(confidence, float(confidence[49]))
    counts = [int((confidence > step).sum()) for step in steps]
    assert counts == [5, 10, 15, 20, 25, 30, 35, 40, 45, 50]


def draws(chance, score, num_rows, seed=0, count=500):
    """Share of draws whose threshold keeps the risk; `chance(rank)` is of being wrong, `score(rank)` the model's."""
    random = np.random.default_rng(seed)
    grid = np.linspace(0, 1, 20_001)
    truth, scores = chance(grid), score(grid)
    kept = []
    for _ in range(count):
        rank = random.uniform(size=num_rows)
        confidence = score(rank)
        found = fix_sequence(confidence, confidence, ALPHA, DELTA)
        chosen = choose(found.accepts, random.uniform(size=num_rows) < chance(rank), ALPHA, DELTA)
        if isinstance(chosen, Chosen):
            kept.append(truth[scores > found.thresholds[chosen.index]].mean() <= ALPHA)
        else:
            kept.append(True)
    return float(np.mean(kept))


@pytest.mark.simulation
@pytest.mark.parametrize("num_rows", [60, 250])
@pytest.mark.parametrize(
    ("chance", "score"),
    [
        (lambda rank: 0.35 * rank, lambda rank: 1 - 0.35 * rank),
        (lambda rank: 0.35 * rank, lambda rank: np.round(1 - 0.35 * rank, 1)),
        (lambda rank: np.full_like(rank, ALPHA + 0.002), lambda rank: 1 - rank),
        (lambda rank: 0.3 * (1 - rank), lambda rank: 1 - 0.5 * rank),
    ],
    ids=["calibrated", "in few steps", "at the brink everywhere", "the wrong way round"],
)
def test_the_risk_is_kept_whatever_the_model_believes(chance, score, num_rows):
    assert draws(chance, score, num_rows) >= 1 - DELTA - 3 * np.sqrt(DELTA * (1 - DELTA) / 500)


def test_worked_values_hold():
    assert doctest.testmod(sequence).failed == 0
