"""The arithmetic of a route by examples."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.kernel_ridge import KernelRidge

from serve_app.router.classifier import softmax
from serve_app.router.examples import Bank, Examples, Shape, neighbour_shares
from serve_app.training.router.data import TrainingSet
from serve_app.training.router.fit_examples import bare_bank, fit_bank, inverse, leave_one_out, without

SHAPE = Shape(num_neighbours=3, softness=0.1, kernel_width=1.5, neighbour_share=0.5)
KERNEL = SHAPE.model_copy(update={"neighbour_share": 0.0})
RIDGE = 0.3
WORDS = ["deposit", "fever", "loop", "court", "rash", "python"]


def unit_rows(num_rows: int, seed: int = 0) -> np.ndarray:
    found = np.random.default_rng(seed).standard_normal((num_rows, 8)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def training_set(num_rows: int = 30, num_labels: int = 3, seed: int = 0) -> TrainingSet:
    random = np.random.default_rng(seed)
    texts = tuple(" ".join(random.choice(WORDS, 3)) for _ in range(num_rows))
    labels = np.arange(num_rows, dtype=np.intp) % num_labels
    weights = np.where(labels == 0, 4, 1).astype(np.float32)
    names = tuple("abcdef"[:num_labels])
    return TrainingSet(texts, unit_rows(num_rows, seed), labels, weights, (None,) * num_rows, names)


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
    data, query = training_set(), unit_rows(1, seed=1)
    reference = KernelRidge(alpha=RIDGE, kernel="rbf", gamma=KERNEL.kernel_width)
    targets = np.where(data.labels[:, None] == np.arange(3), 1.0, -1.0)
    reference.fit(data.vectors, targets, sample_weight=data.weights)
    expected = softmax(3 * reference.predict(query)[0].astype(np.float32))
    model = Examples(fit_bank(data, KERNEL, RIDGE), KERNEL)
    assert model.probabilities("", query[0]) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("shape", [KERNEL, SHAPE])
def test_leave_one_out_is_what_a_fit_without_the_row_says(shape: Shape) -> None:
    data = training_set()
    found = leave_one_out(bare_bank(data, shape), shape, inverse(bare_bank(data, shape), shape, RIDGE))
    for row in (0, 7, 29):
        again = Examples(fit_bank(data.where(np.arange(len(data)) != row), shape, RIDGE), shape)
        assert again.probabilities("", data.vectors[row]) == pytest.approx(found[row], abs=1e-4)


def test_few_directions_find_the_neighbours_that_whole_vectors_find() -> None:
    data = training_set(300)
    whole, reduced = SHAPE, SHAPE.model_copy(update={"num_directions": 7})
    models = [Examples(fit_bank(data, shape, RIDGE), shape) for shape in (whole, reduced)]
    assert models[1].bank.compared.shape == (300, 7)
    for query in unit_rows(20, seed=3):
        near = [
            model.probabilities("", query)
            for model in (
                Examples(one.bank, one.settings.model_copy(update={"neighbour_share": 1.0})) for one in models
            )
        ]
        assert near[0] == pytest.approx(near[1], abs=1e-5)


def test_as_many_directions_as_dimensions_change_nothing() -> None:
    data, query = training_set(), unit_rows(1, seed=1)[0]
    turned = SHAPE.model_copy(update={"num_directions": 99})
    found = [Examples(fit_bank(data, shape, RIDGE), shape).probabilities("", query) for shape in (SHAPE, turned)]
    assert found[0] == pytest.approx(found[1], abs=1e-4)


def test_the_inverse_over_fewer_rows_needs_no_second_inversion() -> None:
    data = training_set()
    gone = np.arange(len(data)) % 3 == 1
    found = without(inverse(bare_bank(data, KERNEL), KERNEL, RIDGE), gone)
    assert found == pytest.approx(inverse(bare_bank(data.where(~gone), KERNEL), KERNEL, RIDGE), abs=1e-8)
    assert found == pytest.approx(without(found, np.zeros(len(found), dtype=bool)))


def test_words_tell_apart_what_vectors_do_not() -> None:
    vector = unit_rows(1)
    texts = ("card lost", "card late") * 5
    labels = np.array([0, 1] * 5, dtype=np.intp)
    data = TrainingSet(texts, np.repeat(vector, 10, axis=0), labels, np.ones(10, np.float32), (None,) * 10, ("a", "b"))
    blind, reading = KERNEL, KERNEL.model_copy(update={"term_share": 0.5})
    assert Examples(fit_bank(data, blind, RIDGE), blind).probabilities("late", vector[0])[1] == pytest.approx(0.5)
    model = Examples(fit_bank(data, reading, RIDGE), reading)
    assert model.probabilities("my card is late", vector[0])[1] > 0.8
    assert model.probabilities("", vector[0]).sum() == pytest.approx(1, abs=1e-5)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_mixture_is_a_probability_distribution(seed: int) -> None:
    data = training_set(12, seed=seed)
    model = Examples(replace(fit_bank(data, SHAPE, RIDGE), weights=data.weights), SHAPE)
    found = model.probabilities("court", unit_rows(1, seed + 1)[0])
    assert found.sum() == pytest.approx(1, abs=1e-5)
    assert (found > 0).all()
