"""Files of an adapter that come with the request: multipart/form-data, counted while it is read."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.datastructures import UploadFile
from starlette.requests import Request

from serve_app.adapters.registry.files import NAMES
from serve_app.core import RequestError
from serve_app.gateway.errors import BodyTooLarge
from serve_app.gateway.forms import form_of

_MAX_FIELD_BYTES = 4096
_FORM_BYTES = 65_536
"""What a form may take besides its files."""


@dataclass(frozen=True, slots=True)
class Upload:
    """What a form held."""

    fields: dict[str, Any]
    files: tuple[str, ...]
    """Names of the files that were written."""


async def read_form(request: Request, into: Path, max_bytes: int, names: tuple[str, ...] = NAMES) -> Upload:
    """Write the files of a form into a folder; a file is known by its own name, whatever its field is called.

    Raises BodyTooLarge as soon as more than `max_bytes` were sent, and RequestError for a form that is none, or brings
    a file other than `names` or one of them twice.
    """
    bound = max_bytes + _FORM_BYTES
    async with form_of(request, bound, len(names), _MAX_FIELD_BYTES, _too_large(bound)) as form:
        written: list[str] = []
        for file in form.files:
            written.append(await _written(file, into, names, written))
        return Upload(form.fields, tuple(written))


async def _written(file: UploadFile, into: Path, names: tuple[str, ...], before: list[str]) -> str:
    name = (file.filename or "").replace("\\", "/").rpartition("/")[2]
    if name not in names:
        raise RequestError(
            f"{name[:80]!r} is not one of {', '.join(names)}; send these files.", "files", "invalid_value"
        )
    if name in before:
        raise RequestError(f"{name} was sent twice; send it once.", "files", "invalid_value")

    def write() -> None:
        with (into / name).open("xb") as out:
            shutil.copyfileobj(file.file, out)

    await asyncio.to_thread(write)
    return name


def _too_large(max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(
        f"The files are larger than {max_bytes / 2**20:.0f} MiB; use a lower rank, or raise registry.max_adapter_mb.",
        "files",
        "body_too_large",
    )
