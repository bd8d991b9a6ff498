"""Models of the gain over the words of a prompt. Everything that is fitted, is fitted on the training rows alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.special import softmax
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import MultinomialNB

from bench.routing.outcomes import Outcomes
from serve_app.confidence.model import FloatArray
from serve_app.training.gain.regression import IntArray

_LEAST_ROWS_OF_A_TERM = 3
_SHRINKAGE = 20.0
"""Rows of the overall mean that each subject's mean is mixed with."""
_DOUBT = 0.5
"""Naive Bayes counts a prompt's words as if they were independent and is too sure; its log-odds are halved."""


@dataclass(frozen=True, eq=False)
class Words:
    """The counts of words and word pairs of one benchmark."""

    outcomes: Outcomes

    @cached_property
    def counts(self) -> Any:
        """(num_rows, num_terms), sparse. Which terms are used and how they are weighted, training rows decide."""
        return CountVectorizer(ngram_range=(1, 2), min_df=2, dtype=np.float32).fit_transform(self.outcomes.texts)

    def terms(self, train: IntArray) -> Any:
        """TF-IDF of all rows, (num_rows, num_terms): terms and weights from the training rows."""
        seen = np.bincount(self.counts[train].indices, minlength=self.counts.shape[1]) >= _LEAST_ROWS_OF_A_TERM
        kept = self.counts[:, np.flatnonzero(seen)]
        return TfidfTransformer(sublinear_tf=True).fit(kept[train]).transform(kept)


def ridge(terms: Any, gained: FloatArray, train: IntArray, test: IntArray, strength: float) -> FloatArray:
    """Ridge regression of the gain on the terms; (len(test),)."""
    model = Ridge(alpha=strength, solver="lsqr", tol=1e-3, max_iter=60).fit(terms[train], gained[train])
    found: FloatArray = model.predict(terms[test])
    return found


def by_subject(terms: Any, outcomes: Outcomes, train: IntArray, test: IntArray) -> FloatArray:
    """The subjects' mean gains, weighted by how likely the words make each subject; (len(test),)."""
    model = MultinomialNB(alpha=0.05, fit_prior=False).fit(terms[train], outcomes.subjects[train])
    likely = softmax(model.predict_log_proba(terms[test]) * _DOUBT, axis=1)
    found: FloatArray = likely @ subject_means(outcomes, train)[model.classes_]
    return found


def subject_means(outcomes: Outcomes, train: IntArray) -> FloatArray:
    """Mean gain of each subject over the training rows, mixed with the overall mean; (num_subjects,)."""
    num_subjects = int(outcomes.subjects.max()) + 1
    gained, subjects = outcomes.gained[train], outcomes.subjects[train]
    sums = np.bincount(subjects, gained, minlength=num_subjects)
    rows = np.bincount(subjects, minlength=num_subjects)
    found: FloatArray = (sums + _SHRINKAGE * gained.mean()) / (rows + _SHRINKAGE)
    return found


def classifier(terms: Any, helped: Any, train: IntArray, test: IntArray) -> FloatArray:
    """The usual baseline: logistic regression of "strong right and weak wrong" on TF-IDF terms; (len(test),)."""
    model = LogisticRegression(C=1.0, solver="liblinear").fit(terms[train], helped[train])
    found: FloatArray = model.predict_proba(terms[test])[:, 1]
    return found
