"""Fits logistic regression, on vectors and on weighted words, and the words' weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from serve_app.core import DataError
from serve_app.router.classifier import FloatArray
from serve_app.router.linear import Linear
from serve_app.router.terms import Terms
from serve_app.router.vocabulary import Vocabulary, terms_of
from serve_app.training.router.data import TrainingSet

VECTOR_STRENGTH = 30.0
"""Inverse regularisation on vectors of length 1; of 10, 30 and 100 the best on held-out training rows of BANKING77."""
TERM_STRENGTH = 10.0
MAX_TERMS = 50_000
_MAX_STEPS = 400


def fit_linear(data: TrainingSet) -> Linear:
    """Multinomial logistic regression on the vectors."""
    weights, offsets = _regression(data.vectors, data, VECTOR_STRENGTH)
    return Linear(weights, offsets)


def fit_terms(data: TrainingSet) -> Terms:
    """Multinomial logistic regression on the TF-IDF of words and word pairs."""
    vocabulary, features = fit_vocabulary(data.texts)
    weights, offsets = _regression(features, data, TERM_STRENGTH)
    return Terms(vocabulary, weights, offsets)


def fit_vocabulary(texts: Sequence[str]) -> tuple[Vocabulary, Any]:
    """The commonest terms of `texts`, and their TF-IDF there as a sparse matrix (num_texts, num_terms).

    Raises DataError where no text has a term.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    if not any(map(terms_of, texts)):
        raise DataError("No training text has a word of two letters: train with a classifier that reads vectors alone.")
    vectoriser = TfidfVectorizer(analyzer=terms_of, sublinear_tf=True, max_features=MAX_TERMS)
    features = vectoriser.fit_transform(texts)
    terms = tuple(map(str, vectoriser.get_feature_names_out()))
    return Vocabulary(terms, vectoriser.idf_.astype(np.float32)), features


def _regression(features: Any, data: TrainingSet, strength: float) -> tuple[FloatArray, FloatArray]:
    """Weights (num_features, num_labels) and offsets (num_labels,)."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=strength, max_iter=_MAX_STEPS)
    model.fit(features, data.labels, sample_weight=data.weights)
    weights, offsets = model.coef_.T.astype(np.float32), model.intercept_.astype(np.float32)
    if len(data.names) == 2:  # scikit-learn keeps one column for two labels: the second's, against a first of 0
        weights, offsets = np.hstack([0 * weights, weights]), np.hstack([0 * offsets, offsets])
    return weights, offsets
