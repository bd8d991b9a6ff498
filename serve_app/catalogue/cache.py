"""Where models lie on this machine, and finding one there.

{cache}/models/{alias}/     a whole model with its headrace.json; appears by one rename
{cache}/partial/{alias}/    what a pull has so far; the next pull goes on from it
{cache}/locks/{alias}.lock  held by the pull at work
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import platformdirs

from serve_app.catalogue import record as records
from serve_app.catalogue.conversion import VERSION
from serve_app.catalogue.entries import Entry, entries, entry
from serve_app.core import CatalogueError

CACHE_ENV = "HEADRACE_CACHE"

State = Literal["ready", "absent", "partial", "outdated", "damaged"]
"""`outdated`: of another source or converter than the catalogue's; `damaged`: a file is missing or has another size."""


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model on this machine."""

    alias: str
    path: Path
    """Folder with config.json, tokenizer.json and the weights (or the ONNX files of an encoder)."""
    source_digest: str
    """Identifies the model: sha256 of its source artefact, not of the converted files."""


def cache_dir() -> Path:
    """HEADRACE_CACHE, else the user's cache folder."""
    return Path(os.environ.get(CACHE_ENV) or platformdirs.user_cache_dir("headrace")).expanduser().absolute()


def model_home(alias: str) -> Path:
    """The folder of a whole model, or of its record where the files lie elsewhere."""
    return cache_dir() / "models" / alias


def partial_home(alias: str) -> Path:
    """The folder of what a pull has so far."""
    return cache_dir() / "partial" / alias


def state(model: Entry) -> State:
    """Of one catalogue model, without reading its weights."""
    home = model_home(model.alias)
    try:
        found = records.read(home)
    except CatalogueError:
        return "damaged"
    if found is None:
        return "partial" if partial_home(model.alias).exists() else "absent"
    if not _is_of(found, model):
        return "outdated"
    return "ready" if found.missing(home) is None else "damaged"


def _is_of(found: records.ModelRecord, model: Entry) -> bool:
    if found.converter not in (None, VERSION) or found.source != describe_source(model):
        return False
    return model.artefact is None or found.source_digest == model.artefact.sha256


def describe_source(model: Entry) -> str:
    """`hf:…`, a path, or the wheels as requirements."""
    return model.source or " ".join(wheel.requirement for wheel in model.wheels)


def ready_files(model: Entry) -> ModelFiles | None:
    """The pulled model, None unless its state is `ready`."""
    if state(model) != "ready":
        return None
    home = model_home(model.alias)
    found = records.read(home)
    return None if found is None else ModelFiles(model.alias, found.folder(home), found.source_digest)


def resolve(model: str) -> ModelFiles:
    """Find a model by its name in the catalogue or by the path of a local folder. Fetches nothing.

    A folder that Headrace did not make is hashed whole, which takes seconds per gigabyte. Raises CatalogueError.
    """
    known = entries()
    if model in known:
        files = ready_files(known[model])
        if files is None:
            raise CatalogueError(
                f"Model {model} is {state(known[model])} on this machine: run `headrace models pull {model}`."
            )
        return files
    folder = Path(model).expanduser()
    if folder.is_dir():
        return _local(folder.absolute())
    raise CatalogueError(
        f"{model!r} is neither a folder nor a model of the catalogue, which has {', '.join(sorted(known))}."
    )


def _local(folder: Path) -> ModelFiles:
    try:
        found = records.read(folder)
    except CatalogueError as error:  # an adapter's folder has a file of that name too
        raise CatalogueError(
            f"{folder} is no model folder: its {records.FILE} describes no model; name the base, not an adapter."
        ) from error
    if found is not None:
        if (bad := found.missing(folder)) is not None:
            raise CatalogueError(f"{found.folder(folder) / bad} is missing or cut short: copy the model folder again.")
        return ModelFiles(found.alias, found.folder(folder), found.source_digest)
    files = records.record_files(folder, model_paths(folder))
    return ModelFiles(folder.name, folder, records.tree_digest(files))


def model_paths(folder: Path) -> list[Path]:
    """The files of a transformers model folder; raises CatalogueError when it is none."""
    weights = sorted(folder.glob("*.safetensors"))
    for name in ("config.json", "tokenizer.json"):
        if not (folder / name).is_file():
            raise CatalogueError(f"{folder} is no model folder: {name} is missing (save_pretrained writes it).")
    if not weights:
        raise CatalogueError(f"{folder} holds no *.safetensors: save the weights with save_pretrained.")
    others = [path for pattern in ("*.json", "*.jinja") for path in folder.glob(pattern) if path.name != records.FILE]
    return weights + sorted(others)


def verify(alias: str) -> ModelFiles:
    """Read every file of a pulled model again and compare; raises CatalogueError that names the first bad one."""
    home = model_home(entry(alias).alias)
    found = records.read(home)
    if found is None:
        raise CatalogueError(f"Model {alias} is not on this machine: run `headrace models pull {alias}`.")
    folder = found.folder(home)
    bad = found.missing(home) or next(
        (name for name, file in found.files.items() if records.sha256_of(folder / name) != file.sha256), None
    )
    if bad is not None:
        raise CatalogueError(f"{folder / bad} is not as it was pulled: run `headrace models pull --force {alias}`.")
    return ModelFiles(alias, folder, found.source_digest)
