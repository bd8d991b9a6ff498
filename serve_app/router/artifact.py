"""The router on disk: `router.safetensors` (arrays) and `router.json` (labels, settings, card). Never a pickle."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from serve_app.core import DataError
from serve_app.core.files import write_whole
from serve_app.router.classifier import Arrays, Classifier, Model, Settings
from serve_app.router.examples import Examples, Shape
from serve_app.router.linear import Linear, LinearSettings
from serve_app.router.network import Network, NetworkSettings
from serve_app.router.terms import Terms, TermsSettings

FORMAT: Literal[2] = 2
ARRAYS_FILE, RECORD_FILE = "router.safetensors", "router.json"

_ModelSettings = Annotated[Shape | LinearSettings | NetworkSettings | TermsSettings, Field(discriminator="kind")]


class Record(Settings):
    """What `router.json` holds."""

    format: Literal[2] = FORMAT
    labels: tuple[str, ...] = Field(min_length=2)
    floor: float = Field(ge=0, le=1)
    temperature: float = Field(gt=0)
    encoder_digest: str
    model: _ModelSettings
    card: dict[str, Any]


class RecordV1(Settings):
    """`router.json` of format 1: the only model was the examples', and its settings stood among the others."""

    format: Literal[1]
    labels: tuple[str, ...] = Field(min_length=2)
    floor: float = Field(ge=0, le=1)
    num_neighbours: int
    softness: float
    kernel_width: float
    neighbour_share: float
    temperature: float = Field(gt=0)
    encoder_digest: str
    card: dict[str, Any]

    def current(self) -> Record:
        """The same in today's format."""
        shape = self.model_dump(include={"num_neighbours", "softness", "kernel_width", "neighbour_share"})
        rest = self.model_dump(include={"labels", "floor", "temperature", "encoder_digest", "card"})
        return Record.model_validate(rest | {"model": {"kind": "examples", **shape}})


@dataclass(frozen=True)
class Artifact:
    """A classifier with the encoder it belongs to."""

    classifier: Classifier
    floor: float
    """Below this probability the label is `general`."""
    encoder_digest: str
    """Of the encoder that training used; whether it matters is the model's `reads_vector`."""
    card: dict[str, Any]
    """For people: data digests, seed, versions, figures of the training run."""


def write(artifact: Artifact, folder: Path) -> None:
    """Store under `folder`, made if absent; the same artifact gives the same bytes. Raises DataError when it cannot."""
    classifier = artifact.classifier
    arrays = {name: np.ascontiguousarray(array) for name, array in classifier.model.arrays().items()}
    record = {
        "format": FORMAT,
        "labels": classifier.labels,
        "floor": artifact.floor,
        "temperature": classifier.temperature,
        "encoder_digest": artifact.encoder_digest,
        "model": classifier.model.settings.model_dump(),
        "card": artifact.card,
    }
    text = json.dumps(Record.model_validate(record).model_dump(), ensure_ascii=False, indent=2)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / ARRAYS_FILE, save(arrays))
        write_whole(folder / RECORD_FILE, text + "\n")
    except OSError as error:
        raise DataError(f"Cannot write the router to {folder}: {error.strerror or error}.") from error


def read(folder: Path) -> Artifact:
    """Load and check. Raises DataError when files are missing, damaged, of another format or do not fit together."""
    record = read_record(folder)
    arrays = _arrays(folder / ARRAYS_FILE)
    try:
        model = _restored(record, arrays)
    except KeyError as error:
        raise DataError(f"{folder / ARRAYS_FILE} lacks {error.args[0]}: train the router again.") from error
    except ValueError as error:
        raise DataError(f"{folder} is damaged ({error}): train the router again.") from error
    classifier = Classifier(record.labels, model, record.temperature)
    return Artifact(classifier, record.floor, record.encoder_digest, record.card)


def num_bytes(folder: Path) -> int:
    """Size of the router on disk."""
    return sum((folder / name).stat().st_size for name in (ARRAYS_FILE, RECORD_FILE))


def _restored(record: Record, arrays: Arrays) -> Model:
    num_labels = len(record.labels)
    match record.model:
        case Shape():
            return Examples.restored(record.model, arrays, num_labels)
        case LinearSettings():
            return Linear.restored(arrays, num_labels)
        case NetworkSettings():
            return Network.restored(arrays, num_labels)
        case TermsSettings():
            return Terms.restored(arrays, num_labels)


def read_record(folder: Path) -> Record:
    """Labels, settings and card, without the weights. Raises DataError."""
    path = folder / RECORD_FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path.parent} is no router: cannot read {path.name} ({error.strerror or error}).") from error
    except ValueError as error:
        raise DataError(f"{path} is damaged (not JSON): train the router again.") from error
    number = found.get("format") if isinstance(found, dict) else FORMAT
    if number not in (1, FORMAT):
        raise DataError(f"{path} has format {number!r} and this version reads 1 and {FORMAT}: train the router again.")
    try:
        return RecordV1.model_validate(found).current() if number == 1 else Record.model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{path} is damaged ({field}: {first['msg']}): train the router again.") from error


def _arrays(path: Path) -> Arrays:
    try:
        arrays: dict[str, np.ndarray[Any, Any]] = load_file(path)
    except OSError as error:
        raise DataError(f"{path.parent} is no router: cannot read {path.name} ({error.strerror or error}).") from error
    except SafetensorError as error:
        raise DataError(f"{path} is damaged ({error}): train the router again.") from error
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise DataError(f"{path} is damaged ({name} holds numbers that are not finite): train the router again.")
    return arrays
