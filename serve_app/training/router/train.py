"""From files of labelled queries to an artifact: read, encode, validate, calibrate, fit."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sklearn

from serve_app import __version__
from serve_app.core import ConfigError, DataError
from serve_app.router.artifact import Artifact, stored
from serve_app.router.classifier import Classifier, FloatArray, calibrated
from serve_app.router.domain import FALLBACK_LABEL, TextEncoder
from serve_app.router.metrics import expected_calibration_error, summary
from serve_app.router.rows import Row, read_rows
from serve_app.router.text import clip
from serve_app.training.router.calibrate import fit_temperature, pick_floor
from serve_app.training.router.fit import IntArray, fit
from serve_app.training.router.folds import out_of_fold, random_folds, source_folds
from serve_app.training.router.recipe import Recipe

MAX_ROWS = 20_000
"""The kernel takes 8 bytes x rows squared: 3.2 GB at this many."""

Progress = Callable[[str, int, int], object]
"""Stage, steps done, steps in all."""


@dataclass(frozen=True)
class Trained:
    """An artifact and the out-of-fold figures that went into its card."""

    artifact: Artifact
    validation: dict[str, Any]


@dataclass(frozen=True)
class _Set:
    """The rows as arrays."""

    vectors: FloatArray
    labels: IntArray
    weights: FloatArray
    sources: list[str | None]
    names: tuple[str, ...]


def train(
    files: Sequence[Path],
    encoder: TextEncoder,
    recipe: Recipe | None = None,
    seed: int = 0,
    floor: float | None = None,
    on_progress: Progress | None = None,
) -> Trained:
    """Same files, encoder, recipe and seed: same artifact. `floor` None: the best one on out-of-fold predictions.

    Raises DataError on bad rows or too few of a label, ConfigError on a floor outside [0, 1].
    """
    if floor is not None and not 0 <= floor <= 1:
        raise ConfigError(f"--floor is {floor}: it must lie between 0 and 1.")
    recipe, report = recipe or Recipe(), on_progress or _silent
    rows_of = {path: read_rows(path) for path in files}
    rows = [row for found in rows_of.values() for row in found]
    _check(rows, recipe)
    data = _encoded(rows, encoder, report)
    mixtures, truth, sources, num_random = _held_out(data, recipe, seed, report)
    temperature = fit_temperature(mixtures, truth)
    probabilities = calibrated(mixtures, temperature)
    fallback = data.names.index(FALLBACK_LABEL) if FALLBACK_LABEL in data.names else None
    floor = pick_floor(probabilities, truth, fallback) if floor is None else floor
    report("fit", 0, 1)
    bank = fit(data.vectors, data.labels, data.weights, len(data.names), recipe)
    report("fit", 1, 1)
    validation = _validation(probabilities, mixtures, truth, sources, num_random, floor, data.names)
    card = {
        "data": [_file_card(path, found) for path, found in rows_of.items()],
        "rows_per_label": dict(sorted(Counter(row.label for row in rows).items())),
        "seed": seed,
        "recipe": asdict(recipe),
        "versions": {"headrace": __version__, "numpy": np.__version__, "scikit-learn": sklearn.__version__},
        "validation": validation,
    }
    classifier = Classifier(data.names, bank, recipe.shape, temperature)
    return Trained(Artifact(classifier, floor, encoder.digest, card), validation)


def _silent(stage: str, done: int, total: int) -> None:
    """Reports to nobody."""


def _check(rows: Sequence[Row], recipe: Recipe) -> None:
    counts = Counter(row.label for row in rows)
    if len(counts) < 2:
        raise DataError(f"All rows have the label {next(iter(counts))!r}: a router needs at least two labels.")
    label, num_rows = min(counts.items(), key=lambda item: item[1])
    if num_rows < recipe.num_folds:
        raise DataError(f"Label {label!r} has {num_rows} rows: give each label at least {recipe.num_folds}.")
    if len(rows) > MAX_ROWS:
        raise DataError(f"{len(rows)} rows are too many for the kernel machine: give a sample of at most {MAX_ROWS}.")


def _encoded(rows: Sequence[Row], encoder: TextEncoder, report: Progress) -> _Set:
    names = tuple(sorted({row.label for row in rows}))
    vectors = []
    for done, row in enumerate(rows):
        report("encode", done, len(rows))
        vectors.append(encoder.encode([clip(row.text)])[0])
    report("encode", len(rows), len(rows))
    return _Set(
        vectors=stored(np.stack(vectors)),
        labels=np.array([names.index(row.label) for row in rows], dtype=np.intp),
        weights=np.array([row.weight for row in rows], dtype=np.float32),
        sources=[row.source for row in rows],
        names=names,
    )


def _held_out(
    data: _Set, recipe: Recipe, seed: int, report: Progress
) -> tuple[FloatArray, IntArray, list[str | None], int]:
    """Out-of-fold mixtures, true labels and sources: of the random folds first, then those of the source folds.

    The last value is how many belong to the random folds. Both count in the calibration: traffic is partly like the
    training texts and partly not.
    """
    total, done = 2 * recipe.num_folds, 0

    def on_fold() -> None:
        nonlocal done
        done += 1
        report("validate", done, total)

    report("validate", 0, total)
    plans = (
        random_folds(data.labels, recipe.num_folds, seed),
        source_folds(data.labels, data.sources, recipe.num_folds),
    )
    parts, truths, sources = [], [], []
    for folds in plans:
        found = out_of_fold(data.vectors, data.labels, data.weights, folds, recipe, on_fold)
        tested = np.flatnonzero(folds >= 0)
        parts.append(found[tested])
        truths.append(data.labels[tested])
        sources += [data.sources[index] for index in tested]
    return np.concatenate(parts), np.concatenate(truths), sources, len(parts[0])


def _validation(
    probabilities: FloatArray,
    mixtures: FloatArray,
    truth: IntArray,
    sources: Sequence[str | None],
    num_random: int,
    floor: float,
    names: tuple[str, ...],
) -> dict[str, Any]:
    """Figures on held-out rows; the last source folds are absent where no label has two sources."""
    best, top = probabilities.argmax(axis=1), probabilities.max(axis=1)
    predicted = [names[index] if p >= floor else FALLBACK_LABEL for index, p in zip(best, top, strict=True)]
    true = [names[index] for index in truth]
    raw_right, raw_top = mixtures.argmax(axis=1) == truth, mixtures.max(axis=1)
    right = [guess == label for guess, label in zip(predicted, true, strict=True)]
    found: dict[str, Any] = {
        "ece_before": expected_calibration_error(raw_right.tolist(), raw_top.tolist()),
        "ece_after": expected_calibration_error(right, top.tolist()),
    }
    for name, part in (("random_folds", slice(0, num_random)), ("source_folds", slice(num_random, None))):
        if true[part]:
            figures = summary(true[part], predicted[part], top[part].tolist(), sources[part])
            found[name] = {key: figures[key] for key in figures if key != "confusion"}
    return found


def _file_card(path: Path, rows: Sequence[Row]) -> dict[str, Any]:
    return {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "rows": len(rows)}
