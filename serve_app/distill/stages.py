"""Stages of a run on disk: each has a folder, and is done once its record says what its output was made from.

    RUN/export/begun.json    digest of the inputs, written first: what lies here is of these
    RUN/export/…
    RUN/export/done.json     {"inputs": digest, "figures": {…}}, written last, by rename

A stage that was killed has no record and is done again, with what it finds of its own (a checkpoint, answers). A stage
whose inputs have another digest begins with an empty folder, and so do all that follow it, because the digest of a
stage counts the one before.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serve_app.core import DataError
from serve_app.core.files import write_whole

RECORD = "done.json"
_BEGUN = "begun.json"


@dataclass(frozen=True, slots=True)
class Done:
    """A finished stage."""

    folder: Path
    inputs: str
    """Digest of what the output was made from."""
    figures: dict[str, Any]
    """What the stage says of itself; plain JSON."""
    again: bool
    """It had been done before, with the same inputs, and was left as it is."""


def digest_of(*parts: Any) -> str:
    """sha256 over plain JSON values, hexadecimal; a path stands for its bytes."""
    return hashlib.sha256(json.dumps([_plain(part) for part in parts], sort_keys=True).encode()).hexdigest()


async def stage(folder: Path, inputs: str, work: Callable[[Path], Awaitable[Mapping[str, Any]]]) -> Done:
    """Do a stage unless its record has these inputs. `work` writes into the folder and returns the figures.

    What it finds there is its own, of a run that was broken off. Raises what `work` raises.
    """
    known = _read(folder / RECORD)
    if known is not None and known["inputs"] == inputs:
        return Done(folder, inputs, known["figures"], True)
    _begin(folder, inputs)
    figures = dict(await work(folder))
    write_json(folder / RECORD, {"inputs": inputs, "figures": figures})
    return Done(folder, inputs, figures, False)


def _begin(folder: Path, inputs: str) -> None:
    """What lies there stays if it is of these inputs."""
    begun = _read(folder / _BEGUN)
    if folder.exists() and (begun is None or begun["inputs"] != inputs):
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / _BEGUN, {"inputs": inputs, "figures": {}})


def write_json(path: Path, value: Any) -> None:
    """Whole or not at all."""
    write_whole(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def _read(record: Path) -> dict[str, Any] | None:
    if not record.exists():
        return None
    try:
        found: dict[str, Any] = json.loads(record.read_bytes())
        return {"inputs": found["inputs"], "figures": found["figures"]}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{record} is damaged ({error}); delete it, and the stage is done again.") from error


def _plain(part: Any) -> Any:
    return hashlib.sha256(part.read_bytes()).hexdigest() if isinstance(part, Path) else part
