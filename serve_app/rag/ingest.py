"""Documents into a collection: read, cut, embed, write; one bad document does not stop the others."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol, TypeVar

from serve_app.config.rag import RagSettings
from serve_app.core import DataError
from serve_app.rag.chunks import Chunk, Chunker
from serve_app.rag.collection import Collection
from serve_app.rag.documents import Document, IngestReport, OnProgress, Progress, Refusal
from serve_app.rag.embedding import TextEncoder
from serve_app.rag.filters import document_key, of_documents
from serve_app.rag.names import check
from serve_app.rag.readers import media_type_of, read
from serve_app.rag.reading import too_slow
from serve_app.rag.rows import Prepared, content, revision_of, to_table

T = TypeVar("T")


class Change(Protocol):
    """Makes a change of the collection, whoever else is writing."""

    def __call__(self, work: Callable[[Collection], T]) -> T:
        """What `work` returns, given the collection as it is now."""
        ...


_GATHERED_CHUNKS = 1_000
"""Documents are written together up to so many chunks: a commit costs the same for one and for many."""
_FORMAT = "1"
"""Of rows and chunks: raised where the same document would make others."""


class Ingest:
    """One call's work."""

    def __init__(
        self,
        settings: RagSettings,
        chunker: Chunker,
        encoder: TextEncoder,
        key_id: str | None,
        on_progress: OnProgress | None,
    ) -> None:
        self._settings, self._chunker, self._encoder = settings, chunker, encoder
        self._key_id, self._on_progress = key_id, on_progress
        told = (_FORMAT, settings.chunk_tokens, settings.overlap_tokens)
        self._settings_digest = hashlib.sha256(repr(told).encode()).hexdigest()
        self._refused: list[Refusal] = []
        self._remarks: list[str] = []
        self._gathered: dict[str, Prepared] = {}
        self._taken = self._unchanged = self._chunks = self._num_tokens = self._done = 0

    def run(self, documents: Sequence[Document], into: Collection, change: Change, started: float) -> IngestReport:
        """Take them in, in their order. `into`: as it is before; `change` makes a change of the collection.

        The writer's lock is held while something is written, and not while documents are read and embedded.
        """
        present = self._present(documents, into)
        for document in documents:
            self._take(document, present)
            if sum(len(each.chunks) for each in self._gathered.values()) >= _GATHERED_CHUNKS:
                self._write(into, change)
            self._done += 1
            self._tell(len(documents))
        self._write(into, change)
        if self._chunks:
            change(Collection.keep_up)
        if change(Collection.owes_purge):
            change(Collection.purge)
        self._tell(len(documents))
        return IngestReport(
            collection=into.name,
            version=change(lambda table: table.version),
            documents=self._taken,
            unchanged=self._unchanged,
            chunks=self._chunks,
            num_tokens=self._num_tokens,
            seconds=time.perf_counter() - started,
            refused=tuple(self._refused),
            remarks=tuple(self._remarks),
        )

    def _present(self, documents: Sequence[Document], into: Collection) -> dict[str, str]:
        """Keys of those that are there already, with their revision."""
        keys = [document_key(document.document_id, self._key_id) for document in documents]
        present: dict[str, str] = {}
        for at in range(0, len(keys), 500):
            rows = into.infos(of_documents(keys[at : at + 500]))
            present |= {row["document_key"]: row["revision"] for row in rows}
        return present

    def _take(self, document: Document, present: dict[str, str]) -> None:
        try:
            check(document)
            key, revision = (
                document_key(document.document_id, self._key_id),
                revision_of(document, self._settings_digest),
            )
            if present.get(key) == revision:
                self._unchanged += 1
            else:
                self._gathered[key] = self._prepared(document, key, revision)
                present[key] = revision
            self._taken += 1
        except DataError as error:
            self._refused.append(Refusal(document.document_id, str(error)))

    def _prepared(self, document: Document, key: str, revision: str) -> Prepared:
        limits, deadline = self._settings, time.monotonic() + self._settings.document_timeout_s
        reading = read(document, limits.max_document_mb, limits.document_timeout_s)
        chunks: list[Chunk] = []
        for chunk in self._chunker.chunks(reading):
            if len(chunks) == limits.max_chunks:
                told = f"has more than {limits.max_chunks:,} chunks (rag.max_chunks): divide it."
                raise DataError(f"Document {document.document_id!r} {told}")
            if time.monotonic() > deadline:
                raise DataError(f"Document {document.document_id!r} {too_slow(limits.document_timeout_s)}")
            chunks.append(chunk)
        self._remarks += [f"Document {document.document_id!r} {remark}" for remark in reading.remarks]
        title = document.title or reading.title
        return Prepared(document, title, media_type_of(document), len(reading.text), chunks, key, revision)

    def _write(self, into: Collection, change: Change) -> None:
        import pyarrow as pa

        prepared, self._gathered = list(self._gathered.values()), {}
        if not prepared:
            return
        chunks = [chunk for each in prepared for chunk in each.chunks]
        vectors = self._encoder.encode([content(chunk) for chunk in chunks])
        now, tables, at = datetime.now(UTC).isoformat(timespec="seconds"), [], 0
        for each in prepared:
            part = vectors[at : at + len(each.chunks)]
            tables.append(to_table(each, part, self._key_id, now, into.schema))
            at += len(each.chunks)
        rows, keys = pa.concat_tables(tables), [each.key for each in prepared]
        change(lambda table: table.replace(rows, keys))
        self._chunks += len(chunks)
        self._num_tokens += sum(chunk.num_tokens for chunk in chunks)

    def _tell(self, documents: int) -> None:
        if self._on_progress is not None:
            self._on_progress(Progress(self._done, documents, self._chunks))
