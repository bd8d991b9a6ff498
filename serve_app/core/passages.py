"""What is looked for in documents, and what is found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

SearchMode = Literal["hybrid", "vector", "text"]
"""Sentence vectors and full text together, or one of them alone."""


@dataclass(frozen=True, slots=True)
class Search:
    """A question to a collection of documents."""

    text: str
    collection: str
    key_id: str | None = None
    """Who asks: sees its own documents and those that belong to nobody. None sees the latter only."""
    limit: int = 8
    """Most passages."""
    mode: SearchMode = "hybrid"
    where: Mapping[str, str] = field(default_factory=dict)
    """Metadata that a document must have."""
    rerank: bool = False
    """Whether the best are put in order once more, with a dearer measure."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document that was found."""

    passage_id: str
    """Unique within its collection; another one after the document has changed."""
    document_id: str
    collection: str
    title: str
    """Of the document, with the headings above the passage."""
    text: str
    start: int
    """With `end`: characters of the document's text, `end` not included."""
    end: int
    num_tokens: int
    """Of `text`, by the small base's tokenizer; counted when the document was taken in."""
    score: float
    """What the search ranked it by; higher is better, and comparable within one result only."""
    similarity: float | None = None
    """Cosine between question and passage, -1 to 1; None: the search had no vectors."""
    source: str = ""
    """Where the document came from: a file's name or an address."""
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Retrieval:
    """What a search found."""

    passages: tuple[Passage, ...]
    """Best first."""
    fit: float
    """How well the best one fits the question, in [0, 1]; 0 where there is none."""
    version: str
    """Of the collection's contents: another one after any change."""
    busy_s: float = 0.0
    """Seconds that the search took in the retriever, waiting not included."""
    remarks: tuple[str, ...] = ()
    """What the search had to do without, such as an index that is not built yet; a sentence each."""
