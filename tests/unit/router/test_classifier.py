"""The arithmetic of a route."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.kernel_ridge import KernelRidge

from serve_app.router.classifier import (
    Bank,
    Shape,
    calibrated,
    kernel_probabilities,
    mixture,
    neighbour_shares,
    softmax,
)
from serve_app.training.router.fit import fit
from serve_app.training.router.recipe import Recipe

SHAPE = Shape(num_neighbours=3, softness=0.1, kernel_width=1.5, neighbour_share=0.5)


def unit_rows(num_rows: int, seed: int = 0) -> np.ndarray:
    found = np.random.default_rng(seed).standard_normal((num_rows, 8)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def bank(weights: tuple[float, ...] = (1, 1, 1, 1)) -> Bank:
    labels = np.array([0, 0, 1, 1], dtype=np.intp)
    return Bank(unit_rows(4), labels, np.array(weights, dtype=np.float32), np.zeros((4, 2), dtype=np.float32))


def test_only_the_nearest_examples_vote() -> None:
    shares = neighbour_shares(bank(), SHAPE, np.array([0.9, 0.9, 0.9, -1.0], dtype=np.float32))
    assert shares == pytest.approx([2 / 3, 1 / 3], abs=1e-3)


def test_an_example_of_weight_two_votes_twice() -> None:
    shares = neighbour_shares(bank((1, 1, 2, 1)), SHAPE, np.array([0.9, 0.9, 0.9, -1.0], dtype=np.float32))
    assert shares == pytest.approx([0.5, 0.5], abs=1e-3)


def test_a_bank_smaller_than_the_neighbourhood_votes_whole() -> None:
    wide = Shape(num_neighbours=99, softness=0.1, kernel_width=1.5, neighbour_share=1.0)
    assert neighbour_shares(bank(), wide, np.zeros(4, dtype=np.float32)) == pytest.approx([0.5, 0.5])


def test_the_kernel_machine_serves_what_scikit_learn_fitted() -> None:
    vectors, labels = unit_rows(30), np.arange(30, dtype=np.intp) % 3
    weights = np.where(labels == 0, 4, 1).astype(np.float32)
    recipe = Recipe()
    fitted = fit(vectors, labels, weights, 3, recipe)
    reference = KernelRidge(alpha=recipe.ridge, kernel="rbf", gamma=recipe.kernel_width)
    reference.fit(vectors, np.where(labels[:, None] == np.arange(3), 1.0, -1.0), sample_weight=weights)
    query = unit_rows(1, seed=1)
    expected = softmax(3 * reference.predict(query)[0].astype(np.float32))
    assert kernel_probabilities(fitted, recipe.shape, fitted.vectors @ query[0]) == pytest.approx(expected, abs=1e-4)


@given(st.integers(0, 2**32 - 1))
def test_a_mixture_is_a_probability_distribution(seed: int) -> None:
    random = np.random.default_rng(seed)
    one = Bank(
        unit_rows(12, seed), random.integers(0, 3, 12), random.uniform(0.1, 5, 12).astype(np.float32),
        random.standard_normal((12, 3)).astype(np.float32),
    )  # fmt: skip
    found = mixture(one, SHAPE, unit_rows(1, seed + 1)[0])
    assert found.sum() == pytest.approx(1, abs=1e-5)
    assert (found > 0).all()


@given(st.floats(0.2, 5), st.lists(st.floats(0.01, 1), min_size=2, max_size=6))
def test_calibration_keeps_the_order_of_labels(temperature: float, shares: list[float]) -> None:
    raw = np.array(shares, dtype=np.float32) / np.float32(sum(shares))
    found = calibrated(raw, temperature)
    assert found.sum() == pytest.approx(1, abs=1e-5)
    assert found[raw.argmax()] == found.max()
