"""What goes into a document store, and what it tells of its contents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Document:
    """A document as it came from outside."""

    document_id: str
    """Unique within its collection and owner; a second document of the same name replaces the first."""
    data: bytes
    title: str = ""
    """Empty: the document's own first heading or title, else its id."""
    source: str = ""
    """Where it came from: a file's name or an address; passages name it."""
    media_type: str = ""
    """Such as `text/markdown` or `application/pdf`; empty: told from `source`, `document_id` and the first bytes."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Words that a search may ask for; keys are names, values any text."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A document that was not taken in; what the store held under its name stays."""

    document_id: str
    reason: str
    """One sentence that names the document and says what to do."""


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What became of documents. All that were not refused are found by the next search of this store."""

    collection: str
    version: str
    """Of the collection, after the last of them."""
    documents: int
    """Taken in, those that were there already with the same bytes included."""
    unchanged: int
    """Included in `documents`: the same bytes, title and metadata were there; nothing was written."""
    chunks: int
    """Written."""
    num_tokens: int
    """Of the chunks written, by the small base's tokenizer; repeated sentences count twice."""
    seconds: float
    refused: tuple[Refusal, ...] = ()
    remarks: tuple[str, ...] = ()
    """Sentences on what was read with a loss, such as text that is not UTF-8."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an ingest is."""

    documents_done: int
    documents: int
    """Of the whole call."""
    chunks: int
    """Written so far."""


OnProgress = Callable[[Progress], None]
"""Called from the ingesting thread after each document that was written or refused."""


@dataclass(frozen=True, slots=True)
class DocumentInfo:
    """A document of a collection."""

    document_id: str
    title: str
    source: str
    media_type: str
    key_id: str | None
    """Whose it is; None: everybody's."""
    digest: str
    """sha256 of the bytes that came."""
    num_chars: int
    """Of the text that was read from it."""
    chunks: int
    num_tokens: int
    """Of its chunks, by the small base's tokenizer; repeated sentences count twice."""
    ingested_at: str
    """UTC, ISO 8601."""
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """A collection, as far as the caller may see it."""

    name: str
    documents: int
    """Of the caller and everybody's."""
    chunks: int
    """Of those documents."""
    version: str
    """Another one after any change, by anybody."""
