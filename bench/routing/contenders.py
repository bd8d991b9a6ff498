"""Who scores prompts. A contender learns from the training rows and scores the others; it never sees their outcomes.

`Ours` trains up to four models and uses the one whose scores of *held-out training rows* have the highest APGR. Which
one that is, is decided anew in each fold, without the rows it is tried on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.model_selection import KFold

from bench.routing.outcomes import Outcomes
from bench.routing.words import Words, by_subject, ridge
from serve_app.confidence.model import FloatArray
from serve_app.training.gain import Views, fit_gain
from serve_app.training.gain.regression import Fit, IntArray

STRENGTHS = (10.0, 30.0)
"""Of the ridge on words; the one with the least squared error on held-out training rows is used."""
_INNER_FOLDS = 4
_TREES = 100


@dataclass(frozen=True, eq=False)
class Scored:
    """One model's scores of the rows it was tried on, and of its own training rows while each was held out."""

    test: FloatArray
    train: FloatArray


@dataclass(frozen=True, eq=False)
class Ours:
    """The models of one benchmark."""

    outcomes: Outcomes
    words: Words
    seen: Views | None
    """What the served pre-router reads; None: vectors are not at hand, and the pre-router does not compete."""
    picks: Counter[str] = field(default_factory=Counter)
    """How often each model was used."""

    def scores(self, train: IntArray, test: IntArray, seed: int) -> Mapping[str, FloatArray]:
        """Of each model, and of `ours`: the picked one; each (len(test),)."""
        terms = self.words.terms(train)
        of_words = self._words(terms, train, test, seed)
        trees = self._trees(terms, of_words, train, test, seed)
        both = Scored((of_words.test + trees.test) / 2, (of_words.train + trees.train) / 2)
        found = {"words_ridge": of_words, "trees": trees, "words_and_trees": both}
        if self.seen is not None:
            found["gain_model"] = served(self.outcomes, self.seen, train, test, seed)
        best = max(found, key=lambda name: self.outcomes.apgr(found[name].train, train))
        self.picks[best] += 1
        return {name: one.test for name, one in found.items()} | {"ours": found[best].test}

    def _words(self, terms: Any, train: IntArray, test: IntArray, seed: int) -> Scored:
        """Ridge regression of the gain on TF-IDF terms."""
        gained = self.outcomes.gained
        tried = [
            _held_out(lambda a, b, s=strength: ridge(terms, gained, a, b, s), train, _INNER_FOLDS, seed)
            for strength in STRENGTHS
        ]
        best = int(np.argmin([((scores - gained[train]) ** 2).mean() for scores in tried]))
        return Scored(ridge(terms, gained, train, test, STRENGTHS[best]), tried[best])

    def _trees(self, terms: Any, of_words: Scored, train: IntArray, test: IntArray, seed: int) -> Scored:
        """Extremely randomised trees (Geurts et al. 2006) over counts, the words' score and the likely subject's gain.

        The two scores of a training row come from models that were not fitted on it.
        """
        outcomes = self.outcomes

        def subject(fitted: IntArray, asked: IntArray) -> FloatArray:
            return by_subject(terms, outcomes, fitted, asked)

        features = np.empty((len(outcomes), outcomes.counts.shape[1] + 2))
        features[:, :-2] = outcomes.counts
        features[train, -2], features[test, -2] = of_words.train, of_words.test
        features[train, -1], features[test, -1] = _held_out(subject, train, _INNER_FOLDS, seed), subject(train, test)

        def forest(fitted: IntArray, asked: IntArray) -> FloatArray:
            model = ExtraTreesRegressor(_TREES, min_samples_leaf=20, max_features=0.4, random_state=seed)
            found: FloatArray = model.fit(features[fitted], outcomes.gained[fitted]).predict(features[asked])
            return found

        return Scored(forest(train, test), _held_out(forest, train, 3, seed + 1))


def served(outcomes: Outcomes, seen: Views, train: IntArray, test: IntArray, seed: int) -> Scored:
    """The product's pre-router, trained as `headrace router gain-train` does."""
    rows = outcomes.rows()
    trained = fit_gain([rows[index] for index in train], seen.take(train), "bench", seed)
    model = trained.model
    return Scored(Fit(model.arrays, model.intercept).scores(seen.take(test)), trained.held_out)


def _held_out(scores: Any, train: IntArray, num_folds: int, seed: int) -> FloatArray:
    """Scores of the training rows, each from a fit without it; `scores(fitted, asked)` gives (len(asked),)."""
    found = np.empty(len(train))
    for kept, out in KFold(num_folds, shuffle=True, random_state=seed).split(train):
        found[out] = scores(train[kept], train[out])
    return found
