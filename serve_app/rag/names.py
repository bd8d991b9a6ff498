"""What a document's names and metadata may be."""

from __future__ import annotations

from serve_app.core import DataError
from serve_app.rag.documents import Document

_MAX_ID_CHARS = 512
_MAX_WORDS = 32
_MAX_WORD_CHARS = 2_048


def check(document: Document) -> None:
    """Raises DataError, which names the document and what to do."""
    name = f"Document {document.document_id[:80]!r}"
    if not 1 <= len(document.document_id) <= _MAX_ID_CHARS:
        raise DataError(f"{name} has a name of {len(document.document_id)} characters: give it 1 to {_MAX_ID_CHARS}.")
    if len(document.metadata) > _MAX_WORDS:
        raise DataError(f"{name} has more than {_MAX_WORDS} words of metadata: leave some out.")
    texts = [document.document_id, document.title, document.source, *document.metadata, *document.metadata.values()]
    if any(len(text) > _MAX_WORD_CHARS for text in texts):
        raise DataError(f"{name} has a title, source or metadata of over {_MAX_WORD_CHARS} characters: shorten it.")
    if any(not _is_plain(text) for text in texts):
        raise DataError(f"{name} has control characters or half characters in its name, title, source or metadata.")


def _is_plain(text: str) -> bool:
    return not any(ord(mark) < 32 or 0xD800 <= ord(mark) <= 0xDFFF for mark in text)
