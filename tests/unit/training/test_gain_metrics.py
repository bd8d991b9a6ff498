"""APGR and CPT: known values, and the properties any such figure must have."""

import doctest
import gzip
import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.training.gain import curve


def draws(num_rows: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.random(num_rows), (random.random(num_rows) < 0.6) * 1.0, (random.random(num_rows) < 0.8) * 1.0


def test_the_curve_runs_from_always_small_to_always_large() -> None:
    score, small, large = draws(1000, 0)
    found = curve(score, small, large)
    assert (found.share[0], found.share[-1]) == (0, 1)
    assert found.quality[0] == pytest.approx(small.mean())
    assert found.quality[-1] == pytest.approx(large.mean())
    assert np.allclose(np.diff(found.share), 0.1, atol=2e-3)


def test_chance_recovers_half_of_the_gap() -> None:
    values = [curve(*draws(4000, seed)).apgr for seed in range(20)]
    assert np.mean(values) == pytest.approx(0.5, abs=0.03)


def test_an_oracle_needs_only_the_calls_that_help() -> None:
    small, large = np.repeat([1.0, 0.0], [80, 20]), np.ones(100)
    found = curve(large - small + np.linspace(0, 0.1, 100), small, large)
    assert found.cpt(0.5) == pytest.approx(10)
    assert found.apgr == pytest.approx(0.9)


def test_equal_scores_are_never_split() -> None:
    _, small, large = draws(500, 1)
    found = curve(np.zeros(500), small, large)
    assert set(found.share.tolist()) == {0.0, 1.0}
    assert found.apgr == pytest.approx(0.5)


def test_nothing_is_recovered_where_there_is_no_gap() -> None:
    found = curve(np.arange(10.0), np.ones(10), np.ones(10))
    assert found.apgr is None
    assert found.cpt(0.5) is None


@given(st.integers(0, 10_000), st.integers(20, 200), st.integers(1, 30))
def test_it_agrees_with_the_recipe_taken_literally(seed: int, num_rows: int, num_values: int) -> None:
    """Threshold by threshold, with ties: at the top edge nobody goes to the large model."""
    random = np.random.default_rng(seed)
    score = random.integers(0, num_values, num_rows) / 7
    small, large = random.random(num_rows), random.random(num_rows) + 0.5
    edges = np.quantile(score, np.linspace(0, 1, 11))
    picks = [score >= edge for edge in edges[:-1]] + [np.zeros(num_rows, dtype=bool)]
    points = sorted((pick.mean(), np.where(pick, large, small).mean()) for pick in picks)
    found = curve(score, small, large)
    assert np.allclose(found.share, [share for share, _ in points])
    assert np.allclose(found.quality, [quality for _, quality in points])


@given(st.integers(0, 1000))
def test_only_the_order_of_scores_matters(seed: int) -> None:
    score, small, large = draws(300, seed)
    one, other = curve(score, small, large + 0.5), curve(np.exp(3 * score), small, large + 0.5)
    assert one.apgr == pytest.approx(other.apgr, abs=0.01)


@pytest.mark.parametrize(("name", "apgr"), [("mmlu", 0.584), ("gsm8k", 0.599)])
def test_length_gets_the_reference_value_on_routellms_outcomes(data_dir: Path, name: str, apgr: float) -> None:
    """The values of data/routellm/SOURCE.txt."""
    with gzip.open(data_dir / "routellm" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    small, large = (np.array([float(row[f"{model}_correct"]) for row in rows]) for model in ("weak", "strong"))
    found = curve(np.array([float(len(row["prompt"])) for row in rows]), small, large)
    assert found.apgr == pytest.approx(apgr, abs=5e-4)


@pytest.mark.parametrize("name", ["confidence.surface", "training.gain.metrics", "training.gain.regression"])
def test_the_worked_values_hold(name: str) -> None:
    found = doctest.testmod(importlib.import_module(f"serve_app.{name}"))
    assert found.attempted > 0
    assert found.failed == 0
