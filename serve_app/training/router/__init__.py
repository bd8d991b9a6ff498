"""Trains the domain router: labelled queries in, an artifact of `serve_app.router` out.

    rows ──encoder──▶ vectors ──fit──▶ bank and kernel machine        (fit.py)
                         │
                         └─folds──▶ out-of-fold predictions ──▶ temperature, floor, figures for the card
                          folds.py                                calibrate.py

Knows scikit-learn; knows no torch. Labels are whatever the rows say.
"""

from serve_app.training.router.recipe import Recipe
from serve_app.training.router.train import Trained, train

__all__ = ["Recipe", "Trained", "train"]
