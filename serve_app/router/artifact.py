"""The router on disk: `router.safetensors` (arrays) and `router.json` (labels, settings, card). Never a pickle."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from serve_app.core import DataError
from serve_app.router.classifier import Bank, Classifier, Shape

FORMAT = 1
ARRAYS_FILE, RECORD_FILE = "router.safetensors", "router.json"
_STORED = {"vectors": np.float16, "labels": np.int32, "weights": np.float32, "duals": np.float32}


class Record(BaseModel):
    """What `router.json` holds."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format: int
    labels: tuple[str, ...] = Field(min_length=2)
    floor: float = Field(ge=0, le=1)
    num_neighbours: int = Field(ge=1)
    softness: float = Field(gt=0)
    kernel_width: float = Field(gt=0)
    neighbour_share: float = Field(ge=0, le=1)
    temperature: float = Field(gt=0)
    encoder_digest: str
    card: dict[str, Any]


@dataclass(frozen=True)
class Artifact:
    """A classifier with the encoder it belongs to."""

    classifier: Classifier
    floor: float
    """Below this probability the label is `general`."""
    encoder_digest: str
    card: dict[str, Any]
    """For people: data digests, seed, versions, figures of the training run."""


def stored(vectors: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Vectors as they come back from disk (16 bits), so that training fits what serving will see."""
    return vectors.astype(_STORED["vectors"]).astype(np.float32)


def write(artifact: Artifact, folder: Path) -> None:
    """Store under `folder`, made if absent; the same artifact gives the same bytes. Raises DataError when it cannot."""
    classifier = artifact.classifier
    arrays = {name: getattr(classifier.bank, name).astype(kind) for name, kind in _STORED.items()}
    record = Record(
        format=FORMAT,
        labels=classifier.labels,
        floor=artifact.floor,
        temperature=classifier.temperature,
        encoder_digest=artifact.encoder_digest,
        card=artifact.card,
        **asdict(classifier.shape),
    )
    text = json.dumps(record.model_dump(), ensure_ascii=False, indent=2)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ARRAYS_FILE).write_bytes(save(arrays))
        (folder / RECORD_FILE).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise DataError(f"Cannot write the router to {folder}: {error.strerror or error}.") from error


def read(folder: Path) -> Artifact:
    """Load and check. Raises DataError when files are missing, damaged, of another format or do not fit together."""
    record = _record(folder / RECORD_FILE)
    arrays = _arrays(folder / ARRAYS_FILE)
    bank = Bank(
        arrays["vectors"].astype(np.float32),
        arrays["labels"].astype(np.intp),
        arrays["weights"].astype(np.float32),
        arrays["duals"].astype(np.float32),
    )
    _check(bank, len(record.labels), folder)
    shape = Shape(record.num_neighbours, record.softness, record.kernel_width, record.neighbour_share)
    classifier = Classifier(record.labels, bank, shape, record.temperature)
    return Artifact(classifier, record.floor, record.encoder_digest, record.card)


def _record(path: Path) -> Record:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path.parent} is no router: cannot read {path.name} ({error.strerror or error}).") from error
    except ValueError as error:
        raise DataError(f"{path} is damaged (not JSON): train the router again.") from error
    if isinstance(found, dict) and found.get("format") != FORMAT:
        raise DataError(
            f"{path} has format {found.get('format')!r} and this version reads {FORMAT}: train the router again."
        )
    try:
        return Record.model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{path} is damaged ({field}: {first['msg']}): train the router again.") from error


def _arrays(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    try:
        arrays: dict[str, np.ndarray[Any, Any]] = load_file(path)
    except OSError as error:
        raise DataError(f"{path.parent} is no router: cannot read {path.name} ({error.strerror or error}).") from error
    except SafetensorError as error:
        raise DataError(f"{path} is damaged ({error}): train the router again.") from error
    missing = _STORED.keys() - arrays.keys()
    if missing:
        raise DataError(f"{path} lacks {', '.join(sorted(missing))}: train the router again.")
    return arrays


def _check(bank: Bank, num_labels: int, folder: Path) -> None:
    """Shapes fit together, all numbers are finite, labels are in range."""
    num_examples = len(bank.labels)
    fits = (
        num_examples > 0
        and bank.vectors.ndim == 2
        and bank.labels.shape == bank.weights.shape == (num_examples,)
        and len(bank.vectors) == num_examples
        and bank.duals.shape == (num_examples, num_labels)
        and bool(((bank.labels >= 0) & (bank.labels < num_labels)).all())
    )
    if not fits or not all(np.isfinite(array).all() for array in (bank.vectors, bank.weights, bank.duals)):
        raise DataError(f"{folder} is damaged (arrays that do not fit or are not finite): train the router again.")
