"""PDF: the text of the pages, by pypdf. Pictures of text are not read."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

from serve_app.rag.reading import Reading, Unreadable, Writer, one_line

if TYPE_CHECKING:
    from pypdf import PdfReader

_MAX_PAGES = 5_000
_PARAGRAPH_END = re.compile(r"\n\s*\n")


def read_pdf(data: bytes, max_chars: int) -> Reading:
    """Paragraphs of the pages, one after another; lines within them are kept as they lie on the page.

    Raises Unreadable for a file that is broken, encrypted, of pictures only, or beyond the bounds.
    """
    from pypdf.errors import PyPdfError

    try:
        reader = _opened(data)
        writer, without_text = Writer(max_chars), 0
        for page in reader.pages:
            text = page.extract_text()
            without_text += not text.strip()
            for paragraph in _PARAGRAPH_END.split(text):
                writer.add("paragraph", paragraph)
        title = str(reader.metadata.title or "") if reader.metadata else ""
        pages = len(reader.pages)
    except Unreadable:
        raise
    except (PyPdfError, RecursionError, ValueError, TypeError, KeyError, IndexError, AttributeError, OSError) as error:
        # pypdf meets a broken file with whatever its parsing stumbles on
        raise Unreadable(f"is a broken PDF ({type(error).__name__}): open it and save it anew.") from error
    if without_text == pages:
        raise Unreadable("is a PDF with no text in it, perhaps a scan: run it through text recognition (OCR) first.")
    remarks = (f"has {without_text} of {pages} pages with no text, which may be pictures.",) if without_text else ()
    return writer.reading(one_line(title), remarks)


def _opened(data: bytes) -> PdfReader:
    from pypdf import PdfReader
    from pypdf.errors import DependencyError

    reader = PdfReader(io.BytesIO(data), strict=False)
    try:
        if reader.is_encrypted and not reader.decrypt(""):
            raise Unreadable("is encrypted: save it without a password.")
    except DependencyError as error:
        raise Unreadable("is encrypted: save it without encryption.") from error
    if len(reader.pages) > _MAX_PAGES:
        raise Unreadable(f"has more than {_MAX_PAGES:,} pages: divide it.")
    return reader
