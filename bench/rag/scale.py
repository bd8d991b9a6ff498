"""How fast passages are found among 100,000 chunks, how near the index comes to exact search, and what ingest costs.

The chunks: some hundred or thousand real ones of the public sets, and distractors made of their sentences. A
distractor's vector is the mean of two real chunks' vectors with noise, so that distractors crowd around the real ones;
none of them is embedded. Searches are timed in this process, embedding of the question included, and through the handle
of a replica (bench/rag/hop.py).
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil

from bench.machine import DATA
from bench.rag.hop import through_a_handle
from bench.rag.retrieval import MODES, opened
from bench.rag.sets import load
from serve_app.catalogue import resolve
from serve_app.config.rag import RagSettings
from serve_app.core import Search
from serve_app.rag import Document
from serve_app.rag.chunks import Chunk, Chunker
from serve_app.rag.collection import Collection
from serve_app.rag.database import Database
from serve_app.rag.embedding import ChunkEncoder
from serve_app.rag.filters import document_key, visible
from serve_app.rag.readers import read
from serve_app.rag.rows import Prepared, to_table

CHUNKS = 100_000
NAME = "scale"
_PER_DOCUMENT = 10
_PER_COMMIT = 10_000
_NOISE = 0.03
_QUESTIONS = 200

Vectors = npt.NDArray[np.float32]


def measure(quick: bool) -> dict[str, Any]:
    """Latencies in milliseconds with one thread for the search; the real chunks are fewer in the quick run."""
    sets = [load(DATA, name, ("test",)) for name in ("medquad", "pubmedqa")]
    texts = [text for each in sets for text in each.documents.values()]
    questions = [question.text for each in sets for question in each.questions][:: 2 if quick else 1]
    real = list(islice(_chunks(texts), 600 if quick else 3_000))
    encoder = ChunkEncoder(resolve("all-minilm-l6-v2").path, 2)
    begun_s = time.perf_counter()
    vectors = encoder.encode([chunk.text for chunk in real])
    embedded_s = time.perf_counter() - begun_s
    with tempfile.TemporaryDirectory() as folder:
        every, written = _fill(folder, encoder, real, vectors)
        found = _searched(folder, questions[:_QUESTIONS], every) | written
        found |= through_a_handle(folder, NAME, questions[:_QUESTIONS])
        found["store_mb"] = round(sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()) / 1e6)
    return {"chunks": CHUNKS, "embed_chunks_per_s": round(len(real) / embedded_s, 1), **found}


def _chunks(texts: Sequence[str]) -> Iterator[Chunk]:
    chunker = Chunker(resolve("smollm2-135m-instruct").path, RagSettings().chunk_tokens, RagSettings().overlap_tokens)
    for text in texts:
        yield from chunker.chunks(
            read(Document("text", text.encode(), media_type="text/plain"), max_mb=16, timeout_s=60)
        )


def _replace(table: Collection, rows: Any, keys: Sequence[str]) -> None:
    table.replace(rows, keys)


def _fill(
    folder: str, encoder: ChunkEncoder, real: Sequence[Chunk], vectors: Vectors
) -> tuple[Vectors, dict[str, Any]]:
    """All vectors in the order of their rows' names, and what writing and indexing took."""
    import pyarrow as pa

    rng = np.random.default_rng(0)
    database = Database(folder)
    database.create(NAME, encoder.dimension, encoder.digest)
    schema = database.open(NAME).schema
    sentences = [part for chunk in real for part in re.split(r"(?<=[.?!])\s", chunk.text) if part]
    every, written_s = [], 0.0
    for at in range(0, CHUNKS, _PER_COMMIT):
        chunks, made = _distractors(rng, sentences, vectors, _PER_COMMIT)
        if at == 0:
            chunks[: len(real)], made[: len(real)] = real, vectors
        every.append(made)
        tables, keys = [], []
        for first in range(0, _PER_COMMIT, _PER_DOCUMENT):
            name, part = f"d{at + first}", slice(first, first + _PER_DOCUMENT)
            keys.append(document_key(name, None))
            prepared = Prepared(Document(name, b""), "", "text/plain", 1, chunks[part], keys[-1], "r")
            tables.append(to_table(prepared, made[part], None, "2026-01-01T00:00:00+00:00", schema))
        rows, begun_s = pa.concat_tables(tables), time.perf_counter()
        database.change(NAME, partial(_replace, rows=rows, keys=keys))
        written_s += time.perf_counter() - begun_s
    begun_s = time.perf_counter()
    database.change(NAME, Collection.keep_up)
    indexed_s = time.perf_counter() - begun_s
    return np.concatenate(every), {"write_chunks_per_s": round(CHUNKS / written_s), "index_s": round(indexed_s, 1)}


def _distractors(
    rng: np.random.Generator, sentences: Sequence[str], vectors: Vectors, count: int
) -> tuple[list[Chunk], Vectors]:
    picked = rng.integers(0, len(sentences), (count, 5))
    chunks = [
        Chunk("", text, 0, len(text), 120) for text in (" ".join(sentences[one] for one in row) for row in picked)
    ]
    pairs = vectors[rng.integers(0, len(vectors), (count, 2))].mean(1)
    made = (pairs + _NOISE * rng.standard_normal(pairs.shape)).astype(np.float32)
    return chunks, made / np.linalg.norm(made, axis=1, keepdims=True)


def _searched(folder: str, questions: Sequence[str], every: Vectors) -> dict[str, Any]:
    """Latency by mode in this process, and how many of the exact ten nearest the index finds."""
    before = psutil.Process().memory_info().rss
    store, encoder = opened(folder, threads=1), ChunkEncoder(resolve("all-minilm-l6-v2").path, 1)
    table = Database(folder).open(NAME)
    table.warm()
    found: dict[str, Any] = {"vector_index": table.vector_index}
    for mode in MODES:
        for question in questions[:20]:
            store.search(Search(question, NAME, mode=mode))
        took = []
        for question in questions:
            begun_s = time.perf_counter()
            store.search(Search(question, NAME, mode=mode))
            took.append((time.perf_counter() - begun_s) * 1000)
        p50, p99 = np.percentile(took, [50, 99])
        found |= {f"{mode}_p50_ms": round(float(p50), 2), f"{mode}_p99_ms": round(float(p99), 2)}
    found["search_memory_mb"] = round((psutil.Process().memory_info().rss - before) / 1e6)
    shares = []
    for vector in encoder.encode(questions):
        tenth = np.sort(every @ vector)[-10]
        nearest = list(table.by_vector(vector, visible(None, {}), 50).result().values())[:10]
        shares.append(sum(cosine >= tenth - 1e-5 for cosine in nearest) / 10)
    return found | {"index_recall_at_10": round(float(np.mean(shares)), 4)}
