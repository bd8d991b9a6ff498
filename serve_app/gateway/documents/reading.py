"""From a request to the documents that it brings: JSON, or a form with files. Counted while it is read."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json
from starlette.datastructures import UploadFile
from starlette.requests import Request

from serve_app.core import RequestError
from serve_app.gateway.documents.bodies import MAX_DOCUMENTS, FormBody, IngestBody
from serve_app.gateway.forms import form_of
from serve_app.gateway.limits import read_body
from serve_app.gateway.parse import json_object, validated
from serve_app.rag import Document

_MAX_FIELD_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Sent:
    """What a request wants to be taken in."""

    documents: tuple[Document, ...]
    collection: str | None
    owner: str | None


async def read_json(request: Request, max_bytes: int) -> Sent:
    """Documents as JSON. Raises RequestError, and BodyTooLarge as soon as more than `max_bytes` were sent."""
    return await asyncio.to_thread(_parsed, await read_body(request, max_bytes))  # it may be long


def _parsed(raw: bytes) -> Sent:
    body = validated(IngestBody, json_object(raw))
    found = []
    for index, one in enumerate(body.documents):
        try:
            found.append(one.document())
        except ValueError as error:
            name = f"documents.{index}.data"
            raise RequestError(f"Invalid {name}: it is not base64 ({error}).", name, "invalid_value") from None
    return Sent(_distinct(found, "documents"), body.collection, body.owner)


async def read_files(request: Request, max_bytes: int) -> Sent:
    """Files of a form; the name of a file, with its folders, is its id and its source.

    Raises RequestError, and BodyTooLarge as soon as more than `max_bytes` were sent.
    """
    async with form_of(request, max_bytes, MAX_DOCUMENTS, _MAX_FIELD_BYTES) as form:
        fields = form.fields
        if "metadata" in fields:
            fields["metadata"] = _metadata(fields["metadata"])
        body = validated(FormBody, fields)
        if not form.files:
            raise RequestError("files is missing; send at least one.", "files", "missing_required_parameter")
        documents = [await _document(file, body) for file in form.files]
    return Sent(_distinct(documents, "files"), body.collection, body.owner)


async def _document(file: UploadFile, body: FormBody) -> Document:
    name = (file.filename or "").replace("\\", "/").lstrip("/")
    if not name or len(name) > 512 or not name.isprintable():
        raise RequestError("A file has no name that can be its id; give it one.", "files", "invalid_value")
    told = file.content_type or ""
    media_type = "" if told == "application/octet-stream" else told  # what clients say of what they do not know
    return Document(name, await file.read(), source=name, media_type=media_type, metadata=body.metadata)


def _metadata(text: str) -> Any:
    try:
        return from_json(text)
    except ValueError as error:
        raise RequestError(f"metadata is not valid JSON: {error}.", "metadata", "invalid_json") from None


def _distinct(documents: list[Document], param: str) -> tuple[Document, ...]:
    names: set[str] = set()
    for document in documents:
        if document.document_id in names:
            raise RequestError(f"{document.document_id[:80]!r} was sent twice; send it once.", param, "invalid_value")
        names.add(document.document_id)
    return tuple(documents)
