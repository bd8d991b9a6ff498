"""headrace.json: what a model folder was made from and what its files must be."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from serve_app.core import CatalogueError

FILE = "headrace.json"
CHUNK_BYTES = 1 << 20


class FileRecord(BaseModel):
    """One file of a model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_bytes: int
    sha256: str


class ModelRecord(BaseModel):
    """Written last into a model's folder: a folder that has it is whole."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    alias: str
    source_digest: str
    """sha256 of the assembled artefact, or `tree_digest` of the files where there is no single artefact."""
    source: str
    licence: str
    converter: int | None
    """Version of the converter, None where the files are used as they came."""
    files: dict[str, FileRecord]
    """By path relative to the model's folder, with forward slashes."""
    path: str | None = None
    """Folder that holds the files, where it is not the one that holds this record."""

    def folder(self, home: Path) -> Path:
        """Where the files lie; `home` is the folder of this record."""
        return home if self.path is None else Path(self.path)

    def missing(self, home: Path) -> str | None:
        """First file that is absent or has another size; reads no contents."""
        for name, file in self.files.items():
            path = self.folder(home) / name
            if not path.is_file() or path.stat().st_size != file.num_bytes:
                return name
        return None


def write(home: Path, record: ModelRecord) -> None:
    """Put the record in `home`."""
    (home / FILE).write_text(record.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read(home: Path) -> ModelRecord | None:
    """The record in `home`, None where there is none; raises CatalogueError when it cannot be understood."""
    path = home / FILE
    if not path.is_file():
        return None
    try:
        return ModelRecord.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise CatalogueError(f"{path} is damaged: delete the folder {home} and pull the model again.") from error


def sha256_of(path: Path, at: Callable[[int], None] | None = None) -> str:
    """Hash of a file; `at` is told the bytes read so far."""
    digest = hashlib.sha256()
    done = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            done += len(chunk)
            if at:
                at(done)
    return digest.hexdigest()


def record_files(folder: Path, paths: Iterable[Path]) -> dict[str, FileRecord]:
    """Size and hash of each path, keyed by its place under `folder`, sorted."""
    return {
        path.relative_to(folder).as_posix(): FileRecord(num_bytes=path.stat().st_size, sha256=sha256_of(path))
        for path in sorted(paths)
    }


def tree_digest(files: dict[str, FileRecord]) -> str:
    """One digest over names and contents, independent of order and of where the folder lies."""
    lines = "".join(f"{file.sha256}  {name}\n" for name, file in sorted(files.items()))
    return hashlib.sha256(lines.encode()).hexdigest()
