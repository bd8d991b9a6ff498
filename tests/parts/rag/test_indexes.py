"""Indexes come with size, and all of them keep up."""

import numpy as np
import pyarrow as pa
import pytest

from serve_app.rag import collection
from serve_app.rag.chunks import Chunk
from serve_app.rag.collection import Collection
from serve_app.rag.database import Database
from serve_app.rag.documents import Document
from serve_app.rag.filters import document_key, visible
from serve_app.rag.rows import Prepared, to_table


@pytest.fixture
def large(tmp_path, monkeypatch):
    """A collection past the bounds from which on there are indexes."""
    monkeypatch.setattr(collection, "INDEX_ROWS", 300)
    monkeypatch.setattr(collection, "STALE_ROWS", 50)
    database = Database(str(tmp_path))
    database.create("c", 16, "e")
    key = document_key("d", None)
    vectors = np.random.default_rng(0).normal(size=(400, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    chunks = [Chunk("", f"row {index}", 0, 5, 2) for index in range(400)]
    prepared = Prepared(Document("d", b""), "", "text/plain", 1, chunks, key, "r")
    rows = to_table(prepared, vectors, None, "2026-01-01T00:00:00+00:00", database.open("c").schema)
    database.change("c", lambda table: table.replace(pa.concat_tables([rows]), [key]))
    database.change("c", Collection.keep_up)
    return database.open("c"), vectors


def test_a_large_collection_has_all_its_rows_in_every_index(large):
    table, _ = large
    assert table.vector_index == "IVF_RQ"
    assert table.unindexed_rows() == 0


def test_the_index_finds_the_nearest_with_their_exact_cosines(large):
    table, vectors = large
    found = table.by_vector(vectors[7], visible(None, {}), 5).result()
    assert len(found) == 5 and max(found.values()) == pytest.approx(1, abs=1e-5)
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert table.by_text("row 7", visible(None, {}), 5).result()
