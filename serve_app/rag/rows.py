"""A document's chunks as rows of a table, and rows as passages and descriptions of documents."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from serve_app.core import Passage
from serve_app.rag.chunks import Chunk
from serve_app.rag.documents import Document, DocumentInfo
from serve_app.rag.filters import label, owner_key

if TYPE_CHECKING:
    import pyarrow as pa

PASSAGE_COLUMNS = (
    *("chunk_id", "document_id", "title", "source", "content", "body_start", "start", "end", "num_tokens", "metadata"),
    "vector",
)
INFO_COLUMNS = (
    *("document_id", "document_title", "source", "media_type", "owner", "digest", "num_chars", "num_chunks"),
    *("document_tokens", "ingested_at", "metadata", "document_key", "revision"),
)


def schema(dimension: int, encoder_digest: str, created: str) -> pa.Schema:
    """Of a collection's table; its metadata say what made the vectors, and when the collection began."""
    import pyarrow as pa

    text, number = pa.string(), pa.int32()
    fields = {
        "chunk_id": text,
        "document_key": text,
        "revision": text,
        "owner": text,  # a name that only humans read; null: everybody's
        "owner_key": text,
        "labels": pa.list_(text),
        "document_id": text,
        "document_title": text,
        "source": text,
        "media_type": text,
        "metadata": text,
        "digest": text,
        "ingested_at": text,
        "num_chars": number,
        "num_chunks": number,
        "document_tokens": number,
        "ordinal": number,
        "title": text,
        "content": text,  # title and text in one, which is what is embedded and indexed
        "body_start": number,
        "start": number,
        "end": number,
        "num_tokens": number,
        "vector": pa.list_(pa.float32(), dimension),
    }
    return pa.schema(list(fields.items()), metadata={"headrace.encoder": encoder_digest, "headrace.created": created})


@dataclass(frozen=True, slots=True)
class Prepared:
    """A document that was read and cut, ready to be embedded and written."""

    document: Document
    title: str
    media_type: str
    num_chars: int
    chunks: Sequence[Chunk]
    key: str
    """See `filters.document_key`."""
    revision: str


def revision_of(document: Document, settings_digest: str) -> str:
    """Another one where the document would make other rows; hexadecimal."""
    told = [document.title, document.source, document.media_type, sorted(document.metadata.items()), settings_digest]
    return hashlib.sha256(json.dumps(told).encode() + document.data).hexdigest()[:16]


def content(chunk: Chunk) -> str:
    """What is embedded and indexed of a chunk."""
    return f"{chunk.title}\n{chunk.text}" if chunk.title else chunk.text


def to_table(
    prepared: Prepared, vectors: npt.NDArray[np.float32], key_id: str | None, ingested_at: str, table_schema: pa.Schema
) -> pa.Table:
    """The rows of one document."""
    import pyarrow as pa

    document, chunks = prepared.document, prepared.chunks
    same = {
        "document_key": prepared.key,
        "revision": prepared.revision,
        "owner": key_id,
        "owner_key": owner_key(key_id),
        "labels": [label(name, value) for name, value in document.metadata.items()],
        "document_id": document.document_id,
        "document_title": prepared.title,
        "source": document.source,
        "media_type": prepared.media_type,
        "metadata": json.dumps(dict(document.metadata), ensure_ascii=False),
        "digest": hashlib.sha256(document.data).hexdigest(),
        "ingested_at": ingested_at,
        "num_chars": prepared.num_chars,
        "num_chunks": len(chunks),
        "document_tokens": sum(chunk.num_tokens for chunk in chunks),
    }
    columns: dict[str, Any] = {name: [value] * len(chunks) for name, value in same.items()}
    columns |= {
        "chunk_id": [f"{prepared.key}-{prepared.revision}-{index}" for index in range(len(chunks))],
        "ordinal": list(range(len(chunks))),
        "title": [chunk.title for chunk in chunks],
        "content": [content(chunk) for chunk in chunks],
        "body_start": [len(content(chunk)) - len(chunk.text) for chunk in chunks],
        "start": [chunk.start for chunk in chunks],
        "end": [chunk.end for chunk in chunks],
        "num_tokens": [chunk.num_tokens for chunk in chunks],
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1]),
    }
    return pa.table({name: columns[name] for name in table_schema.names}, schema=table_schema)


def passage(row: Mapping[str, Any], collection: str, score: float, similarity: float | None) -> Passage:
    """Of a row with PASSAGE_COLUMNS."""
    return Passage(
        passage_id=row["chunk_id"],
        document_id=row["document_id"],
        collection=collection,
        title=row["title"] or row["document_id"],
        text=row["content"][row["body_start"] :],
        start=row["start"],
        end=row["end"],
        num_tokens=row["num_tokens"],
        score=score,
        similarity=similarity,
        source=row["source"],
        metadata=json.loads(row["metadata"]),
    )


def infos(rows: Iterable[Mapping[str, Any]]) -> list[DocumentInfo]:
    """Of rows with INFO_COLUMNS, each document's first; by name."""
    found = [
        DocumentInfo(
            document_id=row["document_id"],
            title=row["document_title"] or row["document_id"],
            source=row["source"],
            media_type=row["media_type"],
            key_id=row["owner"],
            digest=row["digest"],
            num_chars=row["num_chars"],
            chunks=row["num_chunks"],
            num_tokens=row["document_tokens"],
            ingested_at=row["ingested_at"],
            metadata=json.loads(row["metadata"]),
        )
        for row in rows
    ]
    return sorted(found, key=lambda info: (info.document_id, info.key_id or ""))
