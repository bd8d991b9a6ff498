"""Picks the reader of a document, and names the document where it cannot be read."""

from __future__ import annotations

import mimetypes
import re

from serve_app.core import ConfigError, DataError
from serve_app.rag.documents import Document
from serve_app.rag.readers.child import read_apart
from serve_app.rag.readers.formats import FORMATS
from serve_app.rag.reading import Reading, Unreadable

_FORMAT_OF = {
    "application/pdf": "pdf",
    "application/xhtml+xml": "html",
    "text/html": "html",
    "text/markdown": "markdown",
    "text/x-markdown": "markdown",
    "application/json": "text",
    "application/x-ndjson": "text",
    "application/xml": "text",
    "application/yaml": "text",
}
_APART_BYTES = 16 * 1024
"""From here on pages and Markdown are read by a child: below, even the worst of them costs some seconds at most."""


def read(document: Document, max_mb: float, timeout_s: float) -> Reading:
    """The document's text and structure. Raises DataError, which names the document and what to do.

    `timeout_s` bounds what is read by a child; the rest takes no longer than its length.
    """
    name = f"Document {document.document_id!r}"
    media_type = media_type_of(document)
    reader = _FORMAT_OF.get(media_type, "text" if media_type.startswith("text/") else "")
    if not reader:
        raise DataError(f"{name} is {media_type}, which is not read: save it as text, Markdown, HTML or PDF.")
    max_bytes = int(max_mb * 1e6)
    if len(document.data) > max_bytes:
        raise DataError(
            f"{name} has {len(document.data) / 1e6:.1f} MB, over rag.max_document_mb ({max_mb:g}): divide it."
        )
    try:
        if reader == "pdf" or (reader != "text" and len(document.data) > _APART_BYTES):
            reading = read_apart(reader, document.data, max_bytes, timeout_s)
        else:
            reading = FORMATS[reader](document.data, max_bytes)
    except Unreadable as error:
        raise DataError(f"{name} {error}") from error
    except ModuleNotFoundError as error:
        raise ConfigError("Documents need packages that are not installed: `pip install 'headrace[rag]'`.") from error
    if not reading.text:
        raise DataError(f"{name} holds no text: leave it out.")
    return reading


def media_type_of(document: Document) -> str:
    """As given, else by the names' endings, else `application/pdf` or `text/plain` by the first bytes.

    >>> media_type_of(Document("a.md", b""))
    'text/markdown'
    """
    if document.media_type:
        return document.media_type.split(";")[0].strip().lower()
    if document.data.lstrip()[:5] == b"%PDF-":
        return "application/pdf"
    for name in (_path(document.source), document.document_id):
        if name.lower().endswith((".md", ".markdown")):
            return "text/markdown"
        if guessed := mimetypes.guess_type(name)[0]:
            return guessed
    return (
        "application/octet-stream" if b"\0" in document.data[:1024] and not _is_utf16(document.data) else "text/plain"
    )


def _path(source: str) -> str:
    """Of an address its path: the end of a host's name, such as .ai, names no media type.

    >>> _path("https://example.ai"), _path("https://example.ai/a.md?b=c.zip"), _path("notes/a.md")
    ('', '/a.md', 'notes/a.md')
    """
    _, is_address, rest = source.partition("://")
    if not is_address:
        return source
    _, slash, path = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")
    return slash + path


def _is_utf16(data: bytes) -> bool:
    return data[:2] in (b"\xff\xfe", b"\xfe\xff")
