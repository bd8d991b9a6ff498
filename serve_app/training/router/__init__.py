"""Trains routers: labelled queries in, an artifact of `serve_app.router` out.

    rows ──encode──▶ arrays ──fit──▶ a model                        (data.py, classifiers.py, fit_*.py)
                       │
                       └─folds──▶ out-of-fold predictions ──▶ temperature, floor, figures for the card
                        folds.py                              calibrate.py

    train.py       one router
    compare.py     several classifiers on the same rows, in one table
    add_label.py   one more label for a router that keeps its examples, in seconds

Knows scikit-learn; knows no torch. Labels are whatever the rows say.
"""

from serve_app.training.router.add_label import Extended, add_label
from serve_app.training.router.classifiers import AUTO, CLASSIFIERS
from serve_app.training.router.compare import Compared, compare
from serve_app.training.router.recipe import Recipe
from serve_app.training.router.train import Abstention, Trained, train

__all__ = [
    "AUTO",
    "CLASSIFIERS",
    "Abstention",
    "Compared",
    "Extended",
    "Recipe",
    "Trained",
    "add_label",
    "compare",
    "train",
]
