"""The document store: collections of documents, searched by vectors and by words. Blocking, and safe for threads."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from serve_app.config.rag import RagSettings
from serve_app.core import CollectionNotFound, Retrieval, RetrieverError, Search
from serve_app.rag.chunks import Chunker
from serve_app.rag.collection import Collection
from serve_app.rag.database import LANCE_ERRORS, Database, unusable
from serve_app.rag.documents import CollectionInfo, Document, DocumentInfo, IngestReport, OnProgress
from serve_app.rag.embedding import ChunkEncoder, TextEncoder
from serve_app.rag.filters import document_key, visible
from serve_app.rag.ingest import Ingest
from serve_app.rag.rows import infos
from serve_app.rag.searching import retrieval

T = TypeVar("T")
_READS = 3
"""Tries of a search whose files another process has taken away meanwhile."""


class DocumentStore:
    """A folder or an object-store address with a table for each collection.

    Searches see what this store has written at once, and what others have written after `refresh`. Owners see their own
    documents and everybody's. Every method may raise RetrieverError: the store cannot be read or written.
    """

    def __init__(self, settings: RagSettings, store: str, encoder: TextEncoder, chunker: Chunker) -> None:
        self._settings, self._encoder, self._chunker = settings, encoder, chunker
        self._database = Database(store)
        self._collections: dict[str, Collection] = {}
        self._lock = threading.Lock()
        """Held while an entry is exchanged."""

    @classmethod
    def open(
        cls, settings: RagSettings, store: str, encoder_path: Path, tokenizer_path: Path, threads: int = 1
    ) -> DocumentStore:
        """A store on `store`, which may be empty. `tokenizer_path`: the small base's folder or its tokenizer.json.

        Raises CatalogueError for a model that is not there, ConfigError without the extra `rag`.
        """
        chunker = Chunker(tokenizer_path, settings.chunk_tokens, settings.overlap_tokens)
        return cls(settings, store, ChunkEncoder(encoder_path, threads), chunker)

    def ingest(
        self, documents: Sequence[Document], collection: str, key_id: str | None, on_progress: OnProgress | None = None
    ) -> IngestReport:
        """Take documents in, for their owner; those of the same name and owner are replaced, each in one commit.

        A document that cannot be read is refused, and the others are taken in. The collection is made where there is
        none. Searches find what is written while the rest is still being read; of what was replaced no file of a local
        store holds a word when this returns. Raises RequestError for a collection's name that cannot be.
        """
        started = time.perf_counter()
        if collection not in self._collections:
            self._database.create(collection, self._encoder.dimension, self._encoder.digest)
        opened = self._reopened(collection)
        if opened.encoder_digest != self._encoder.digest:
            raise RetrieverError(
                f"Collection {collection!r} was made with another encoder: drop it and ingest its documents again."
            )
        work = Ingest(self._settings, self._chunker, self._encoder, key_id, on_progress)
        return work.run(documents, opened, partial(self._changed, collection), started)

    def search(self, search: Search) -> Retrieval:
        """The best passages; none where nothing is found. Raises CollectionNotFound and RequestError."""
        started = time.perf_counter()
        return self._read(search.collection, lambda table: retrieval(search, table, self._encoder, started))

    def documents(self, collection: str, key_id: str | None) -> list[DocumentInfo]:
        """Those that the owner may see, by name. Raises CollectionNotFound."""
        return self._read(collection, lambda table: infos(table.infos(visible(key_id, {}))))

    def remove(self, collection: str, document_id: str, key_id: str | None) -> bool:
        """Remove the owner's document of that name, for good; False: there is none. Raises CollectionNotFound.

        No search of this store finds it from its first moments on, and when this returns no file of a local store holds
        a word of it. In a large collection that takes seconds.
        """
        key = document_key(document_id, key_id)
        was_there = self._changed(collection, lambda table: table.delete([key]))
        if was_there or self._changed(collection, Collection.owes_purge):
            self._changed(collection, Collection.purge)
        return was_there

    def collections(self, key_id: str | None) -> list[CollectionInfo]:
        """Those with documents that the owner may see; for everybody's owner empty ones too. By name."""
        found = []
        for name in self._database.names():
            with contextlib.suppress(CollectionNotFound):  # dropped since it was listed
                found.append(self._read(name, lambda table: _described(table, key_id)))
        return [info for info in found if info is not None]

    def drop(self, collection: str) -> None:
        """Remove a collection with all documents of all owners. Raises CollectionNotFound."""
        self._collections.pop(collection, None)
        self._database.drop(collection)

    def refresh(self) -> None:
        """See what others have written and dropped since; indexes that are new are read into memory."""
        for name, known in list(self._collections.items()):
            try:
                self._follow(name, known, self._warmed(name, known))
            except CollectionNotFound:
                self._follow(name, known, None)

    def _warmed(self, name: str, known: Collection) -> Collection:
        """The collection as it is now; once more where another's change took an index away meanwhile."""
        for turn in range(_READS):
            if (opened := self._database.open(name)).version == known.version:
                return known
            try:
                opened.warm()
                break
            except LANCE_ERRORS as error:
                if turn == _READS - 1:
                    raise unusable(error) from error
        return opened

    def _follow(self, name: str, known: Collection, now: Collection | None) -> None:
        """Put `now` in the place of `known`, unless a change of this store's own has meanwhile."""
        with self._lock:
            if self._collections.get(name) is known:
                self._collections.pop(name)
                if now is not None:
                    self._collections[name] = now

    def version(self, collection: str) -> str:
        """Of the collection as searches see it now. Raises CollectionNotFound."""
        return self._opened(collection).version

    def _read(self, collection: str, read: Callable[[Collection], T]) -> T:
        """What `read` makes of the collection; once more where another's change took files away meanwhile."""
        table = self._opened(collection)
        for _ in range(_READS - 1):
            try:
                return read(table)
            except LANCE_ERRORS:
                table = self._reopened(collection)
        try:
            return read(table)
        except LANCE_ERRORS as error:
            raise unusable(error) from error

    def _changed(self, collection: str, change: Callable[[Collection], T]) -> T:
        result = self._database.change(collection, change)
        self._reopened(collection)
        return result

    def _opened(self, collection: str) -> Collection:
        return self._collections.get(collection) or self._reopened(collection)

    def _reopened(self, collection: str) -> Collection:
        try:
            self._collections[collection] = opened = self._database.open(collection)
        except CollectionNotFound:
            self._collections.pop(collection, None)
            raise
        return opened


def _described(table: Collection, key_id: str | None) -> CollectionInfo | None:
    rows = table.infos(visible(key_id, {}))
    if not rows and (key_id is not None or table.num_rows()):  # an empty one's name may be another owner's
        return None
    return CollectionInfo(table.name, len(rows), sum(row["num_chunks"] for row in rows), table.version)
