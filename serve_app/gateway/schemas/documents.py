"""Answers of /v1/rag."""

from typing import Literal

from pydantic import Field

from serve_app.gateway.error_codes import ErrorBody
from serve_app.gateway.schemas.shown import Schema


class RefusedDocument(Schema):
    """A document that was not taken in."""

    id: str = Field(description="Its id.")
    message: str = Field(description="Why.")


class IngestReport(Schema):
    """What became of the documents that were sent."""

    object: Literal["rag.ingest"] = Field(description="What this is.")
    collection: str = Field(description="Where they are.")
    version: str = Field(description="Of the collection, after the last of them.")
    documents: int = Field(description="Taken in, those that were there already included.")
    unchanged: int = Field(description="Included in `documents`: there already with the same bytes.")
    chunks: int = Field(description="Written.")
    tokens: int = Field(description="Of the chunks written.")
    seconds: float = Field(description="What it took.")
    remarks: list[str] = Field(description="What was read with a loss; a sentence each.")
    errors: list[RefusedDocument] = Field(description="Those that were not taken in.")


class RefusedIngest(IngestReport, ErrorBody):
    """None of the documents was taken in: the error, with the report beside it."""


class Document(Schema):
    """One document, without its text."""

    object: Literal["rag.document"] = Field(description="What this is.")
    id: str = Field(description="Unique within its collection, for one owner.")
    title: str = Field(description="As it was sent, or as the document has it.")
    source: str = Field(description="Where it is from.")
    media_type: str = Field(description="What it was read as.")
    owner: str | None = Field(description="Name of the key whose it is; null: everybody's.")
    sha256: str = Field(description="Of the bytes that came.")
    characters: int = Field(description="Of the text that was read from it.")
    chunks: int = Field(description="The pieces that are searched.")
    tokens: int = Field(description="Of its chunks; repeated sentences count twice.")
    ingested_at: str = Field(description="UTC, ISO 8601.")
    metadata: dict[str, str] = Field(description="As it was sent.")


class DocumentList(Schema):
    """A page of documents."""

    object: Literal["list"] = Field(description="What this is.")
    has_more: bool = Field(description="Whether there are more behind the last one.")
    data: list[Document] = Field(description="By id. One more than `limit` where two have the last id.")


class DeletedDocument(Schema):
    """A document that was there."""

    object: Literal["rag.document"] = Field(description="What this is.")
    id: str = Field(description="Its id.")
    collection: str = Field(description="Where it was.")
    deleted: Literal[True] = Field(description="It is done.")


class Passage(Schema):
    """A piece of a document that was found."""

    object: Literal["rag.passage"] = Field(description="What this is.")
    id: str = Field(description="Unique within its collection; another one after the document has changed.")
    document_id: str = Field(description="Id of the document.")
    title: str = Field(description="Of the document, with the headings above the passage.")
    source: str = Field(description="Where the document is from.")
    start: int = Field(description="First character in the document's text.")
    end: int = Field(description="Last character, not included.")
    tokens: int = Field(description="Of `text`.")
    score: float = Field(description="What the search ranked it by; comparable within one answer only.")
    similarity: float | None = Field(description="Cosine between question and passage; null: no vectors were used.")
    text: str = Field(description="The passage.")
    metadata: dict[str, str] = Field(description="Of the document.")


class SearchResult(Schema):
    """What a search found."""

    object: Literal["list"] = Field(description="What this is.")
    collection: str = Field(description="What was searched.")
    version: str = Field(description="Of its contents: another one after any change.")
    fit: float = Field(description="How well the best passage fits, 0 to 1; 0 where there is none.")
    busy_ms: float = Field(description="What the search took in the retriever, waiting not included.")
    remarks: list[str] = Field(description="What the search had to do without; a sentence each.")
    data: list[Passage] = Field(description="Best first.")


class Collection(Schema):
    """A collection, as far as the key may see it."""

    object: Literal["rag.collection"] = Field(description="What this is.")
    name: str = Field(description="Its name.")
    documents: int = Field(description="The key's own and everybody's.")
    chunks: int = Field(description="Of those documents.")
    version: str = Field(description="Another one after any change, by anybody.")


class CollectionList(Schema):
    """The collections in which the key may see something."""

    object: Literal["list"] = Field(description="What this is.")
    data: list[Collection] = Field(description="By name.")


class DeletedCollection(Schema):
    """A collection that was there."""

    object: Literal["rag.collection"] = Field(description="What this is.")
    name: str = Field(description="Its name.")
    deleted: Literal[True] = Field(description="It is done.")
