"""What the pages of documents ask of the retriever."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from serve_app.core import Retriever
from serve_app.rag import CollectionInfo, Document, DocumentInfo, IngestReport


class DocumentsNode(Retriever, Protocol):
    """The retriever's deployment. `key_id`: whose documents; None is everybody's.

    Every method raises RetrieverError where the documents cannot be reached, and RequestError for what cannot be asked.
    """

    async def ingest(self, documents: Sequence[Document], collection: str, key_id: str | None) -> IngestReport:
        """Take documents in, each whole or not at all; returns when all are found by a search of this node.

        Raises Overloaded while too many wait to be taken in.
        """
        ...

    async def documents(
        self, collection: str, key_id: str | None, limit: int, after: str | None = None
    ) -> tuple[DocumentInfo, ...]:
        """Of this key and of everybody, by their ids; `after`: those behind that id. Raises CollectionNotFound."""
        ...

    async def remove(self, collection: str, document_id: str, key_id: str | None) -> bool:
        """Delete one document; whether there was one. Raises CollectionNotFound."""
        ...

    async def collections(self, key_id: str | None) -> tuple[CollectionInfo, ...]:
        """Those that hold something of this key or of everybody."""
        ...

    async def drop(self, collection: str) -> None:
        """Delete a collection with everybody's documents. Raises CollectionNotFound."""
        ...
