"""A form with files, multipart/form-data, counted while it is read."""

from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from serve_app.core import RequestError
from serve_app.gateway.errors import BodyTooLarge
from serve_app.gateway.limits import counted

_MAX_FIELDS = 16


@dataclass
class Form:
    """What a form held; its files can be read until it is closed."""

    fields: dict[str, Any] = field(default_factory=dict)
    """Name -> text."""
    files: list[UploadFile] = field(default_factory=list)


def is_form(request: Request) -> bool:
    """Whether the request brings files."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == "multipart/form-data"


@asynccontextmanager
async def form_of(
    request: Request, max_bytes: int, max_files: int, max_field_bytes: int, too_large: BodyTooLarge | None = None
) -> AsyncGenerator[Form]:
    """The form of a request. Raises `too_large` as soon as more was sent, and RequestError for a form that is none."""
    async with aclosing(counted(request, max_bytes, too_large)) as stream:
        parser = MultiPartParser(
            request.headers, stream, max_files=max_files, max_fields=_MAX_FIELDS, max_part_size=max_field_bytes
        )
        try:
            parsed = await parser.parse()
        except MultiPartException as error:
            raise RequestError(f"The form cannot be read: {error.message}", None, "invalid_form") from None
    try:
        form = Form()
        for name, value in parsed.multi_items():
            if isinstance(value, UploadFile):
                form.files.append(value)
            elif name in form.fields:
                raise RequestError(f"{name} was sent twice; send it once.", name, "invalid_value")
            else:
                form.fields[name] = value
        yield form
    finally:
        await parsed.close()
