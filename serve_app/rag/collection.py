"""One collection of a store: a LanceDB table as it was at one version, with its searches and its changes."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from serve_app.rag.filters import of_documents
from serve_app.rag.purging import KEPT, drop_old_files, num_fragments, rewrite_fragments, stored_rows
from serve_app.rag.queries import Queries
from serve_app.rag.rows import INFO_COLUMNS

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    from lancedb.db import AsyncConnection
    from lancedb.table import Table

TEXT_INDEX = "content_idx"
VECTOR_INDEX = "vector_idx"
OWNER_INDEX = "owner_key_idx"
INDEX_ROWS = 8_192
"""From so many rows on vectors are searched through an index; below, one by one, which is exact."""
STALE_ROWS = 2_048
"""So many rows may be outside the indexes before they are added: they are searched one by one, which costs time."""
MOST_FRAGMENTS = 24
"""Files of rows, one for each write, before they are made one: a search opens those that are outside the indexes."""
_PARTS = 8
"""Parts of a vector index, one for each time that rows were added: more slow a search down, and it is built anew."""


class Collection:
    """Searches are safe for concurrent calls and see the version that it was opened at; changes go on from that one."""

    def __init__(self, name: str, table: Table, connection: AsyncConnection, owing: Path | None = None) -> None:
        """`connection`: another one to the table's database, for searches.

        `owing`: a file that is there from before rows are deleted until they are purged; None: there is no place.
        """
        self.name = name
        self._table, self._owing = table, owing
        self._queries = Queries(connection, name, table.version)
        metadata = table.schema.metadata or {}
        self.encoder_digest = metadata.get(b"headrace.encoder", b"").decode()
        self.created = metadata.get(b"headrace.created", b"").decode()
        self.version = f"{self.created[:8]}.{table.version}"
        self.has_text_index = TEXT_INDEX in self._index_names()

    @property
    def schema(self) -> pa.Schema:
        """Of its rows."""
        return self._table.schema

    def num_rows(self, where: str | None = None) -> int:
        """Chunks, all or those of a filter."""
        return int(self._table.count_rows(where))

    def stored_rows(self) -> int:
        """Chunks on the disk: more than `num_rows` where a removal was not followed by `purge`."""
        return stored_rows(self._table)

    @property
    def vector_index(self) -> str:
        """Its type; `none` where vectors are compared one by one."""
        stats = self._table.index_stats(VECTOR_INDEX) if VECTOR_INDEX in self._index_names() else None
        return "none" if stats is None else str(stats.index_type)

    def owes_purge(self) -> bool:
        """Whether bytes of deleted rows may be on the disk: of this writer's, or of one that died before its purge."""
        return bool(self._owing and self._owing.exists()) or self.stored_rows() > self.num_rows()

    def warm(self) -> None:
        """Read the indexes into memory, so that the next search does not."""
        self._queries.warm()
        for name in self._index_names():
            self._table.prewarm_index(name)

    @property
    def only_everybodys(self) -> bool:
        """See Queries."""
        return self._queries.only_everybodys

    def by_vector(self, vector: npt.NDArray[np.float32], where: str, limit: int) -> Future[dict[int, float]]:
        """See Queries."""
        return self._queries.by_vector(vector, where, limit)

    def by_text(self, text: str, where: str, limit: int) -> Future[dict[int, float]]:
        """See Queries."""
        return self._queries.by_text(text, where, limit)

    def rows(self, row_ids: Sequence[int]) -> dict[int, dict[str, Any]]:
        """The PASSAGE_COLUMNS of rows; `vector` as an array."""
        taken = self._queries.rows(row_ids)
        vectors = taken["vector"].combine_chunks().flatten().to_numpy().reshape(taken.num_rows, -1)
        rows = taken.drop_columns(["vector"]).to_pylist()  # which would make an object of each of its numbers
        return {row["_rowid"]: row | {"vector": vector} for row, vector in zip(rows, vectors, strict=True)}

    def infos(self, where: str) -> list[dict[str, Any]]:
        """The INFO_COLUMNS of documents: of each its first row."""
        query = self._table.search().where(f"ordinal = 0 AND {where}").select(list(INFO_COLUMNS))
        return list(query.to_arrow().to_pylist())

    def replace(self, rows: pa.Table, keys: Sequence[str]) -> None:
        """Put `rows` in place of all rows of the documents with those keys, in one commit."""
        if self.num_rows(of_documents(keys)):
            self._owe()
            merge = self._table.merge_insert("chunk_id").when_matched_update_all().when_not_matched_insert_all()
            merge.when_not_matched_by_source_delete(of_documents(keys)).execute(rows)
        else:
            self._table.add(rows)  # a merge reads the whole table

    def delete(self, keys: Sequence[str]) -> bool:
        """Rows of those documents are no longer found; whether there were any. `purge` takes their bytes away."""
        had_any = self.num_rows(of_documents(keys)) > 0
        if had_any:
            self._owe()
            self._table.delete(of_documents(keys))
        return had_any

    def create_text_index(self) -> None:
        """Build the index of words anew, of what is in the table now."""
        from lancedb.index import FTS

        self._table.create_index("content", config=FTS(), replace=True)

    def keep_up(self) -> None:
        """Bring indexes up to date where they are missing, or too many rows or writes are outside them."""
        names, is_large = self._index_names(), self.num_rows() >= INDEX_ROWS
        if TEXT_INDEX not in names:
            self.create_text_index()
        if VECTOR_INDEX not in names and is_large:
            self._create_vector_index()
        if OWNER_INDEX not in names and is_large:
            self._create_owner_index()
        if self.unindexed_rows() >= STALE_ROWS or num_fragments(self._table) >= MOST_FRAGMENTS:
            self._table.optimize(cleanup_older_than=KEPT)
        self._join_parts()

    def purge(self) -> None:
        """Take the bytes of rows that were deleted or replaced off the disk, and whatever older version held them."""
        rewrite_fragments(self._table)
        self.create_text_index()  # whose list of words would still have theirs
        self._join_parts()
        drop_old_files(self._table)
        if self._owing:
            self._owing.unlink(missing_ok=True)

    def _owe(self) -> None:
        if self._owing:
            self._owing.touch()

    def _index_names(self) -> list[str]:
        return [index.name for index in self._table.list_indices()]

    def unindexed_rows(self) -> int:
        """Of the index that lags most."""
        return max((index.num_unindexed_rows or 0 for index in self._table.list_indices()), default=0)

    def _join_parts(self) -> None:
        for index in self._table.list_indices():
            if index.name == VECTOR_INDEX and (index.num_segments or 1) > _PARTS:
                self._create_vector_index()

    def _create_owner_index(self) -> None:
        from lancedb.index import Bitmap

        self._table.create_index("owner_key", config=Bitmap(), replace=True)

    def _create_vector_index(self) -> None:
        from lancedb.index import IvfRq

        config = IvfRq(distance_type="cosine", num_partitions=max(1, round(self.num_rows() ** 0.5)), max_iterations=20)
        self._table.create_index("vector", config=config, replace=True)
