"""`headrace.json` inside an adapter folder: what PEFT's own files cannot say. Optional."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from serve_app.core import AdapterError

FILE_NAME = "headrace.json"
_MAX_BYTES = 256 * 1024

_Stop = Annotated[str, StringConstraints(min_length=1, max_length=64)]
_Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class AdapterManifest(BaseModel):
    """How an adapter wants to be called, on which base, and under what terms. Unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    description: str = ""
    system_prompt: str | None = Field(default=None, max_length=8192)
    """Put before a conversation that brings no system turn of its own; the one used in training."""
    chat_template: str | None = Field(default=None, max_length=65536)
    """Jinja; None is the base's."""
    stop: list[_Stop] = Field(default_factory=list, max_length=8)
    """Generation ends before the first of these."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Default for a call that names none, like `temperature` and `top_p`."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    base_digest: _Digest | None = None
    """sha256 of the base's source artefact; None makes the adapter `unverified` at best."""
    licence: list[str] = Field(default_factory=list)
    """One line for each source of training data, and for the weights."""


def read_manifest(folder: Path) -> AdapterManifest:
    """The folder's manifest, or an empty one. Raises AdapterError naming the key that is wrong."""
    path = folder / FILE_NAME
    if not path.exists():
        return AdapterManifest()
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise AdapterError(f"{path} is over {_MAX_BYTES} bytes; a manifest is a short JSON object.")
        return AdapterManifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise AdapterError(f"{path} cannot be read: {error.strerror}; check the file's permissions.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise AdapterError(f"{path}: {where} is wrong: {first['msg']}; correct or remove it.") from error
