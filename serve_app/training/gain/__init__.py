"""Trains the pre-router: queries with both models' scores in, a `confidence.gain.GainModel` out.

    rows ──encoder──▶ vectors ─┐
      └───────counts──────────┴─▶ ridge on large_right - small_right   (regression.py, strength by held-out folds)
                                        │
                                        └─▶ Platt, AUROC, APGR, ECE from held-out scores                (train.py)

Knows scikit-learn; knows no torch. What it learns is of one pair of models: another pair needs other rows.
"""

from serve_app.training.gain.metrics import Curve, curve
from serve_app.training.gain.regression import Views, views
from serve_app.training.gain.rows import GainRow, join_texts, read_gain_rows, read_texts
from serve_app.training.gain.train import Trained, encoded, fit_gain

__all__ = [
    "Curve",
    "GainRow",
    "Trained",
    "Views",
    "curve",
    "encoded",
    "fit_gain",
    "join_texts",
    "read_gain_rows",
    "read_texts",
    "views",
]
