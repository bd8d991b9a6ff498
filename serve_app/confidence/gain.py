"""The pre-router: P(the large model answers right and the small one wrong), from the query alone. numpy only.

    text ──encoder──▶ vector ──────────────────▶ ·  ┐
      └───surface.py──▶ counts ──standardised──▶ ·  ├─▶ score ──Platt──▶ probability
                          └──random waves──────▶ ·  ┘

The score estimates large_right - small_right by ridge regression, linear in three views of the query: what it is about
(the router's own sentence vector), what can be counted in it, and curved functions of the counts (random Fourier
features, Rahimi and Recht 2007). Training: training/gain. It is calibrated for queries like those it was trained on; on
another kind of query its order has been seen to hold in part (docs/routing.md), its probabilities have not.

On disk: `gain.safetensors` (arrays) and `gain.json` (settings, calibration, card). Never a pickle.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from serve_app.confidence.model import FloatArray, Platt
from serve_app.confidence.stored import Stored, damaged, read_object
from serve_app.confidence.surface import SURFACE, surface
from serve_app.core import ConfigError, DataError
from serve_app.core.files import write_whole

FORMAT = 1
ARRAYS_FILE, RECORD_FILE = "gain.safetensors", "gain.json"

MOST_DEVIATIONS = 4.0
"""Counts further than this from the training mean, in standard deviations, are taken to be this far."""

_WHAT = "pre-router"
_AGAIN = "train it again with `headrace router gain-train`"


class Record(Stored):
    """What `gain.json` holds."""

    format: int
    encoder_digest: str
    surface: tuple[str, ...]
    """Names of the counts, in order."""
    intercept: float
    calibration: Platt
    card: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Arrays:
    """The numbers of the score. With D the encoder's dimension, S = len(SURFACE) and W waves:"""

    vector_weights: FloatArray
    """(D,)"""
    surface_mean: FloatArray
    """(S,), of the training rows, as `surface_scale`."""
    surface_scale: FloatArray
    """(S,), > 0"""
    surface_weights: FloatArray
    """(S,), on the standardised counts."""
    waves: FloatArray
    """(S, W): directions in the standardised counts."""
    phases: FloatArray
    """(W,)"""
    wave_weights: FloatArray
    """(W,)"""


@dataclass(frozen=True, eq=False)
class GainModel:
    """What training writes and serving reads. Changes nothing, so it is safe to share between threads."""

    arrays: Arrays
    intercept: float
    calibration: Platt
    encoder_digest: str
    card: dict[str, Any]
    """For people: rows, their digest, seed, versions and out-of-fold figures of the training run."""

    def probability(self, vector: np.ndarray[Any, Any], text: str) -> float:
        """P(large right and small wrong), in (0, 1); `vector` (D,) is the encoder's of `text`.

        Raises ConfigError where the vector has another dimension than the encoder trained with.
        """
        if vector.shape != self.arrays.vector_weights.shape:
            raise ConfigError(
                f"The pre-router was trained on vectors of {len(self.arrays.vector_weights)} numbers and is given "
                f"{vector.shape}: use the encoder it was trained on, or {_AGAIN}."
            )
        score = float(vector @ self.arrays.vector_weights) + self._of_counts(surface(text))
        return float(self.calibration.probability(np.array(score)))

    def check_encoder(self, digest: str) -> None:
        """Raises ConfigError where the vectors to come are of another encoder than the one trained with."""
        if digest != self.encoder_digest:
            raise ConfigError(
                f"The pre-router was trained on encoder {self.encoder_digest[:12]}, not on {digest[:12]}: "
                f"set router.encoder to the one it was trained on, or {_AGAIN}."
            )

    def _of_counts(self, counts: FloatArray) -> float:
        parts = self.arrays
        standard = standardised(counts, parts.surface_mean, parts.surface_scale)
        waves = curved(standard, parts.waves, parts.phases)
        return float(standard @ parts.surface_weights) + float(waves @ parts.wave_weights) + self.intercept


def standardised(counts: FloatArray, mean: FloatArray, scale: FloatArray) -> FloatArray:
    """Deviations from the training mean, cut at MOST_DEVIATIONS; (..., S) to (..., S)."""
    found: FloatArray = np.clip((counts - mean) / scale, -MOST_DEVIATIONS, MOST_DEVIATIONS)
    return found


def curved(standard: FloatArray, waves: FloatArray, phases: FloatArray) -> FloatArray:
    """Random Fourier features of the standardised counts; (..., S) to (..., W)."""
    found: FloatArray = np.cos(standard @ waves + phases)
    return found


def write(model: GainModel, folder: Path) -> None:
    """Store under `folder`, made if absent; the same model gives the same bytes. Raises DataError when it cannot."""
    arrays = {field.name: getattr(model.arrays, field.name).astype(np.float32) for field in fields(Arrays)}
    record = Record(
        format=FORMAT,
        encoder_digest=model.encoder_digest,
        surface=SURFACE,
        intercept=model.intercept,
        calibration=model.calibration,
        card=model.card,
    )
    text = json.dumps(record.model_dump(mode="json"), ensure_ascii=False, indent=2)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / ARRAYS_FILE, save(arrays))
        write_whole(folder / RECORD_FILE, text + "\n")
    except OSError as error:
        raise DataError(f"Cannot write the {_WHAT} to {folder}: {error.strerror or error}.") from error


def read(folder: Path, encoder_digest: str) -> GainModel:
    """Load and check against the encoder that will make the vectors.

    Raises DataError when files are missing, damaged, of another format or do not fit together, ConfigError when the
    model was trained on another encoder or counts what this version does not.
    """
    record = _record(folder / RECORD_FILE)
    if record.surface != SURFACE:
        raise ConfigError(f"{folder} counts other things in a text than this version does: {_AGAIN}.")
    arrays = _arrays(folder / ARRAYS_FILE)
    _check(arrays, folder)
    model = GainModel(arrays, record.intercept, record.calibration, record.encoder_digest, record.card)
    model.check_encoder(encoder_digest)
    return model


def _record(path: Path) -> Record:
    found = read_object(path, _WHAT, FORMAT, _AGAIN)
    try:
        return Record.model_validate(found)
    except ValidationError as error:
        raise damaged(path, error, _AGAIN) from error


def _arrays(path: Path) -> Arrays:
    try:
        found = load_file(path)
    except OSError as error:
        raise DataError(f"Cannot read the {_WHAT} {path}: {error.strerror or error}.") from error
    except SafetensorError as error:
        raise DataError(f"{path} is damaged ({error}): {_AGAIN}.") from error
    names = [field.name for field in fields(Arrays)]
    missing = [name for name in names if name not in found]
    if missing:
        raise DataError(f"{path} lacks {', '.join(missing)}: {_AGAIN}.")
    return Arrays(**{name: found[name].astype(np.float64) for name in names})


def _check(arrays: Arrays, folder: Path) -> None:
    """Shapes fit together and all numbers are finite."""
    num_counts, num_waves = len(SURFACE), arrays.phases.size
    shapes = {
        "vector_weights": (arrays.vector_weights.size,),
        "surface_mean": (num_counts,),
        "surface_scale": (num_counts,),
        "surface_weights": (num_counts,),
        "waves": (num_counts, num_waves),
        "phases": (num_waves,),
        "wave_weights": (num_waves,),
    }
    for name, shape in shapes.items():
        array = getattr(arrays, name)
        if array.shape != shape or not np.isfinite(array).all():
            raise DataError(f"{folder} is damaged ({name} does not fit or is not finite): {_AGAIN}.")
    if not (arrays.surface_scale > 0).all():
        raise DataError(f"{folder} is damaged (surface_scale is not above 0): {_AGAIN}.")
