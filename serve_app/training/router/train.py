"""From files of labelled queries to an artifact: read, encode, validate, calibrate, fit."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sklearn

from serve_app import __version__
from serve_app.core import ConfigError, DataError
from serve_app.router.artifact import Artifact
from serve_app.router.classifier import Classifier, FloatArray, calibrated
from serve_app.router.domain import FALLBACK_LABEL, TextEncoder
from serve_app.router.metrics import expected_calibration_error, summary, wilson
from serve_app.router.rows import Row, read_rows
from serve_app.training.router.calibrate import fit_temperature, floor_for, pick_floor, rejected
from serve_app.training.router.classifiers import AUTO, CLASSIFIERS, WITH_LABEL_NAMES, named
from serve_app.training.router.data import IntArray, Progress, TrainingSet, encoded, label_rows, silent
from serve_app.training.router.folds import out_of_fold, random_folds, source_folds

NUM_FOLDS = 5
"""Fewer where a label has fewer rows."""


@dataclass(frozen=True)
class Trained:
    """An artifact and the out-of-fold figures that went into its card."""

    artifact: Artifact
    validation: dict[str, Any]


@dataclass(frozen=True)
class Abstention:
    """How the floor is set: to a value, else to a share of false rejections, else to cost next to no accuracy."""

    floor: float | None = None
    false_rejection: float | None = None
    """Of the held-out rows of known labels at most this share may end at the fallback."""

    def __post_init__(self) -> None:
        """Raises ConfigError on a value outside [0, 1]."""
        for option, value in (("--floor", self.floor), ("--false-rejection", self.false_rejection)):
            if value is not None and not 0 <= value <= 1:
                raise ConfigError(f"{option} is {value}: it must lie between 0 and 1.")

    def chosen(self, probabilities: FloatArray, labels: IntArray, fallback_index: int | None) -> float:
        """The floor, from calibrated held-out probabilities (num_rows, num_labels) and true labels (num_rows,)."""
        if self.floor is not None:
            return self.floor
        if self.false_rejection is not None:
            return floor_for(probabilities, labels, fallback_index, self.false_rejection)
        return pick_floor(probabilities, labels, fallback_index)


@dataclass(frozen=True)
class _HeldOut:
    """Out-of-fold predictions: of the random folds first, then of the source folds.

    Both count in the calibration: traffic is partly like the training texts and partly not.
    """

    probabilities: FloatArray
    """(num_predictions, num_labels), uncalibrated."""
    labels: IntArray
    sources: tuple[str | None, ...]
    num_random: int


def train(
    files: Sequence[Path],
    encoder: TextEncoder,
    classifier: str = AUTO,
    seed: int = 0,
    abstention: Abstention | None = None,
    on_progress: Progress | None = None,
) -> Trained:
    """Same files, encoder, classifier and seed: same artifact.

    Raises DataError on bad rows or too few of a label, ConfigError on an unknown classifier.
    """
    report = on_progress or silent
    rows_of = {path: read_rows(path) for path in files}
    rows = [row for found in rows_of.values() for row in found]
    check(rows)
    name = named(classifier, rows)
    data = encoded(rows, encoder if CLASSIFIERS[name].encodes else None, report)
    trained = train_on(data, encoder, name, seed, abstention or Abstention(), report)
    trained.artifact.card["data"] = [_file_card(path, found) for path, found in rows_of.items()]
    return trained


def train_on(
    data: TrainingSet, encoder: TextEncoder, name: str, seed: int, abstention: Abstention, report: Progress
) -> Trained:
    """`train` on encoded rows with a classifier of CLASSIFIERS."""
    method = CLASSIFIERS[name]
    extra = encoded(label_rows(data.names), encoder, silent) if name in WITH_LABEL_NAMES else None
    fit = _Fit(name, seed, extra)
    held = _held_out(data, fit, seed, report)
    temperature = fit_temperature(held.probabilities, held.labels)
    probabilities = calibrated(held.probabilities, temperature)
    fallback = data.names.index(FALLBACK_LABEL) if FALLBACK_LABEL in data.names else None
    floor = abstention.chosen(probabilities, held.labels, fallback)
    report("fit", 0, 1)
    model = fit(data)
    report("fit", 1, 1)
    validation = _validation(held, probabilities, floor, data.names)
    card = {
        "rows_per_label": {label: int((data.labels == index).sum()) for index, label in enumerate(data.names)},
        "classifier": name,
        "label_names": extra is not None,
        "seed": seed,
        "recipe": method.card(),
        "versions": {"headrace": __version__, "numpy": np.__version__, "scikit-learn": sklearn.__version__},
        "validation": validation,
    }
    classifier = Classifier(data.names, model, temperature)
    return Trained(Artifact(classifier, floor, encoder.digest, card), validation)


def check(rows: Sequence[Row]) -> None:
    """Raises DataError where rows cannot make a router: one label only, or a label with a single row."""
    counts = Counter(row.label for row in rows)
    if len(counts) < 2:
        raise DataError(f"All rows have the label {next(iter(counts))!r}: a router needs at least two labels.")
    label, num_rows = min(counts.items(), key=lambda item: item[1])
    if num_rows < 2:
        raise DataError(f"Label {label!r} has one row: give each label at least two, better five to ten.")


@dataclass(frozen=True)
class _Fit:
    """A classifier's fit, with the label names as rows of every fit and of no test."""

    name: str
    seed: int
    extra: TrainingSet | None

    def __call__(self, data: TrainingSet) -> Any:
        return CLASSIFIERS[self.name].fit(data if self.extra is None else data.joined(self.extra), self.seed)


def _held_out(data: TrainingSet, fit: _Fit, seed: int, report: Progress) -> _HeldOut:
    num_folds = min(NUM_FOLDS, int(np.bincount(data.labels).min()))
    plans = (random_folds(data.labels, num_folds, seed), source_folds(data.labels, data.sources, NUM_FOLDS))
    total, done = sum(int(folds.max()) + 1 for folds in plans), 0

    def on_fold() -> None:
        nonlocal done
        done += 1
        report("validate", done, total)

    report("validate", 0, total)
    parts = [out_of_fold(data, folds, fit, on_fold)[folds >= 0] for folds in plans]
    tested = np.concatenate([np.flatnonzero(folds >= 0) for folds in plans])
    return _HeldOut(
        np.concatenate(parts), data.labels[tested], tuple(data.sources[row] for row in tested), len(parts[0])
    )


def _validation(held: _HeldOut, probabilities: FloatArray, floor: float, names: tuple[str, ...]) -> dict[str, Any]:
    """Figures on held-out rows; `source_folds` is absent where no label has two sources."""
    fallback = names.index(FALLBACK_LABEL) if FALLBACK_LABEL in names else None
    turned_away, top = rejected(probabilities, floor, fallback), probabilities.max(axis=1)
    best = probabilities.argmax(axis=1)
    predicted = [FALLBACK_LABEL if gone else names[index] for index, gone in zip(best, turned_away, strict=True)]
    true = [names[index] for index in held.labels]
    raw_right = held.probabilities.argmax(axis=1) == held.labels
    right = [guess == label for guess, label in zip(predicted, true, strict=True)]
    known = held.labels != fallback if fallback is not None else np.ones(len(true), dtype=np.bool_)
    num_rejected, num_known = int(turned_away[known].sum()), int(known.sum())
    found: dict[str, Any] = {
        "ece_before": expected_calibration_error(raw_right.tolist(), held.probabilities.max(axis=1).tolist()),
        "ece_after": expected_calibration_error(right, top.tolist()),
        "false_rejection": num_rejected / num_known,
        "false_rejection_95": list(wilson(num_rejected, num_known)),
    }
    for name, part in (("random_folds", slice(0, held.num_random)), ("source_folds", slice(held.num_random, None))):
        if true[part]:
            figures = summary(true[part], predicted[part], top[part].tolist(), held.sources[part])
            found[name] = {key: figures[key] for key in figures if key != "confusion"}
    return found


def _file_card(path: Path, rows: Sequence[Row]) -> dict[str, Any]:
    return {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "rows": len(rows)}
