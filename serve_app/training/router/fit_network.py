"""Fits the small neural network over vectors."""

from __future__ import annotations

import warnings

import numpy as np

from serve_app.router.network import Network
from serve_app.training.router.data import TrainingSet

NUM_HIDDEN = 256
_PASSES = 60
_DECAY = 1e-3
_LEARNING_RATE = 2e-3
_ROWS_PER_STEP = 64


def fit_network(data: TrainingSet, seed: int) -> Network:
    """Adam for a fixed number of passes over the rows; the same seed gives the same weights."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    model = MLPClassifier(
        (NUM_HIDDEN,),
        alpha=_DECAY,
        learning_rate_init=_LEARNING_RATE,
        batch_size=min(_ROWS_PER_STEP, len(data)),
        max_iter=_PASSES,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # stopping after a number of passes is the regularisation
        model.fit(data.vectors, data.labels, sample_weight=data.weights)
    (hidden_weights, weights), (hidden_offsets, offsets) = model.coefs_, model.intercepts_
    if len(data.names) == 2:  # one logistic output: the second label's, against a first of 0
        weights, offsets = np.hstack([0 * weights, weights]), np.hstack([0 * offsets, offsets])
    return Network(
        hidden_weights.astype(np.float32),
        hidden_offsets.astype(np.float32),
        weights.astype(np.float32),
        offsets.astype(np.float32),
    )
