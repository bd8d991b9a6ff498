"""What /v1/rag answers."""

from __future__ import annotations

from typing import Any

from serve_app.core import Passage, Retrieval
from serve_app.rag import CollectionInfo, DocumentInfo, IngestReport


def report_object(report: IngestReport) -> dict[str, Any]:
    """What became of the documents that were sent."""
    return {
        "object": "rag.ingest",
        "collection": report.collection,
        "version": report.version,
        "documents": report.documents,
        "unchanged": report.unchanged,
        "chunks": report.chunks,
        "tokens": report.num_tokens,
        "seconds": round(report.seconds, 3),
        "remarks": list(report.remarks),
        "errors": [{"id": one.document_id, "message": one.reason} for one in report.refused],
    }


def document_object(info: DocumentInfo) -> dict[str, Any]:
    """One document, without its text."""
    return {
        "object": "rag.document",
        "id": info.document_id,
        "title": info.title,
        "source": info.source,
        "media_type": info.media_type,
        "owner": info.key_id,
        "sha256": info.digest,
        "characters": info.num_chars,
        "chunks": info.chunks,
        "tokens": info.num_tokens,
        "ingested_at": info.ingested_at,
        "metadata": dict(info.metadata),
    }


def collection_object(info: CollectionInfo) -> dict[str, Any]:
    """One collection, as far as the asking key sees it."""
    return {
        "object": "rag.collection",
        "name": info.name,
        "documents": info.documents,
        "chunks": info.chunks,
        "version": info.version,
    }


def search_object(collection: str, found: Retrieval) -> dict[str, Any]:
    """What a search found, best first."""
    return {
        "object": "list",
        "collection": collection,
        "version": found.version,
        "fit": found.fit,
        "busy_ms": round(found.busy_s * 1000, 3),
        "remarks": list(found.remarks),
        "data": [_passage(passage) for passage in found.passages],
    }


def _passage(passage: Passage) -> dict[str, Any]:
    return {
        "object": "rag.passage",
        "id": passage.passage_id,
        "document_id": passage.document_id,
        "title": passage.title,
        "source": passage.source,
        "start": passage.start,
        "end": passage.end,
        "tokens": passage.num_tokens,
        "score": passage.score,
        "similarity": passage.similarity,
        "text": passage.text,
        "metadata": dict(passage.metadata),
    }
