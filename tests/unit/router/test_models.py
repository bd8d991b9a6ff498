"""The models beside the examples: they serve what scikit-learn fitted, and come back from disk."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from serve_app.core import DataError
from serve_app.router.artifact import ARRAYS_FILE, Artifact, read, write
from serve_app.router.classifier import Classifier
from serve_app.router.linear import Linear
from serve_app.training.router import CLASSIFIERS
from serve_app.training.router.data import TrainingSet
from serve_app.training.router.fit_linear import TERM_STRENGTH, VECTOR_STRENGTH, fit_linear, fit_terms
from serve_app.training.router.fit_network import fit_network

TEXTS = ("my landlord keeps the deposit", "the landlord sued me", "the fever is back", "a fever and a rash",
         "the loop never ends", "my loop, my loop: python")  # fmt: skip


def data_of(num_labels: int) -> TrainingSet:
    vectors = np.random.default_rng(0).standard_normal((12, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    labels = np.array([0, 0, 1, 1, 2, 2] * 2, dtype=np.intp) % num_labels
    return TrainingSet(TEXTS * 2, vectors, labels, np.ones(12, np.float32), (None,) * 12, tuple("abc"[:num_labels]))


@pytest.mark.parametrize("num_labels", [2, 3])
def test_logistic_regression_serves_what_was_fitted(num_labels: int) -> None:
    data = data_of(num_labels)
    reference = LogisticRegression(C=VECTOR_STRENGTH, max_iter=400).fit(data.vectors, data.labels)
    model = fit_linear(data)
    for vector, expected in zip(data.vectors, reference.predict_proba(data.vectors), strict=True):
        assert model.probabilities("", vector) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("num_labels", [2, 3])
def test_words_serve_what_was_fitted_unknown_ones_included(num_labels: int) -> None:
    data = data_of(num_labels)
    vectoriser = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    reference = LogisticRegression(C=TERM_STRENGTH, max_iter=400)
    reference.fit(vectoriser.fit_transform(data.texts), data.labels)
    model = fit_terms(data)
    texts = [*data.texts, "Fever! FEVER?? my landlord", "nothing known here", ""]
    for text, expected in zip(texts, reference.predict_proba(vectoriser.transform(texts)), strict=True):
        assert model.probabilities(text, np.zeros(0, np.float32)) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("num_labels", [2, 3])
def test_a_network_learns_its_rows(num_labels: int) -> None:
    data = data_of(num_labels)
    model = fit_network(data, seed=0)
    found = [model.probabilities("", vector) for vector in data.vectors]
    assert [int(one.argmax()) for one in found] == data.labels.tolist()
    assert all(one.sum() == pytest.approx(1, abs=1e-5) for one in found)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_classifier_comes_back_from_disk_and_says_the_same(name: str, tmp_path: Path) -> None:
    data = data_of(3)
    model = CLASSIFIERS[name].fit(data, 0)
    write(Artifact(Classifier(data.names, model, 1.0), 0.0, "digest", {}), tmp_path)
    again = read(tmp_path).classifier.model
    assert again.settings == model.settings
    for text, vector in zip(data.texts, data.vectors, strict=True):
        assert again.probabilities(text, vector) == pytest.approx(model.probabilities(text, vector), abs=2e-3)


@pytest.mark.parametrize("name", ["tfidf", "linear", "network", "kernel"])
def test_arrays_of_another_router_are_refused(name: str, tmp_path: Path) -> None:
    for num_labels, folder in ((3, tmp_path / "three"), (2, tmp_path / "two")):
        data = data_of(num_labels)
        model = CLASSIFIERS[name].fit(data, 0)
        write(Artifact(Classifier(data.names, model, 1.0), 0.0, "digest", {}), folder)
    (tmp_path / "two" / ARRAYS_FILE).write_bytes((tmp_path / "three" / ARRAYS_FILE).read_bytes())
    with pytest.raises(DataError, match="do not fit together"):
        read(tmp_path / "two")


def test_terms_of_examples_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    data = data_of(3)
    write(Artifact(Classifier(data.names, CLASSIFIERS["kernel"].fit(data, 0), 1.0), 0.0, "digest", {}), tmp_path)
    arrays = load_file(tmp_path / ARRAYS_FILE)
    arrays["term_places"][0] = 9999
    save_file(arrays, tmp_path / ARRAYS_FILE)
    with pytest.raises(DataError, match="terms do not fit together"):
        read(tmp_path)


def test_a_model_of_vectors_says_that_it_reads_them() -> None:
    assert Linear.reads_vector
    assert not fit_terms(data_of(3)).reads_vector
