"""The formats by name, from bytes."""

from __future__ import annotations

import codecs
import dataclasses
from collections.abc import Callable, Mapping

from serve_app.rag.readers.html import read_html
from serve_app.rag.readers.markdown import read_markdown
from serve_app.rag.readers.pdf import read_pdf
from serve_app.rag.readers.text import read_text
from serve_app.rag.reading import Reading, Unreadable

BytesReader = Callable[[bytes, int], Reading]
"""From the bytes of a document and the most characters of its text. Raises Unreadable."""

_LATIN = "is not UTF-8 and was read as Latin-1: letters outside English may be wrong."


def _decoding(read: Callable[[str, int], Reading]) -> BytesReader:
    def reader(data: bytes, max_chars: int) -> Reading:
        text, remarks = decode(data)
        reading = read(text, max_chars)
        return dataclasses.replace(reading, remarks=remarks + reading.remarks) if remarks else reading

    return reader


def decode(data: bytes) -> tuple[str, tuple[str, ...]]:
    """Text of UTF-8, of UTF-16 with its mark, else of Latin-1 with a remark. Raises Unreadable for what is no text.

    >>> decode(b"caf\\xe9")[0]
    'café'
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            return data.decode("utf-16"), ()
        except UnicodeDecodeError as error:
            raise Unreadable("begins like UTF-16 and is not: save it as UTF-8.") from error
    try:
        return data.decode("utf-8-sig"), ()
    except UnicodeDecodeError:
        if b"\0" in data:
            raise Unreadable("is not text, whatever its name says: save it as text, Markdown, HTML or PDF.") from None
        return data.decode("latin-1"), (_LATIN,)


FORMATS: Mapping[str, BytesReader] = {
    "text": _decoding(read_text),
    "markdown": _decoding(read_markdown),
    "html": _decoding(read_html),
    "pdf": read_pdf,
}
