"""The queries of a search, of one version of a table, made on an event loop of their own.

LanceDB's blocking calls are wrappers of its asynchronous ones that cost up to a millisecond more each, and cannot be
made side by side by one thread.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from serve_app.rag.filters import visible
from serve_app.rag.rows import PASSAGE_COLUMNS

if TYPE_CHECKING:
    import pyarrow as pa
    from lancedb.db import AsyncConnection
    from lancedb.table import AsyncTable

T = TypeVar("T")

_PROBES, _REFINE = 20, 3
"""Exact vectors of `_REFINE` times as many rows are read as are asked for: most of a search's time. With 2, the index's
recall@10 among the 100,000 chunks of `bench/rag/scale.py` is below 0.95."""
_ALL = 0
"""Parts of the index are looked at until there are enough rows: a caller's own may all lie in those that are far."""


class Queries:
    """Safe for concurrent calls. What a method raises is what LanceDB raises: see `database.LANCE_ERRORS`."""

    def __init__(self, connection: AsyncConnection, name: str, version: int) -> None:
        """`version`: of the table of that name, which is opened with the first query."""
        self._connection, self._name, self._version = connection, name, version
        self._table: AsyncTable | None = None
        self._only_everybodys = False

    @property
    def only_everybodys(self) -> bool:
        """Whether this version has no row of an owner's, so that every caller may see every row."""
        if self._table is None:
            self.warm()
        return self._only_everybodys

    def by_vector(self, vector: npt.NDArray[np.float32], where: str, limit: int) -> Future[dict[int, float]]:
        """The nearest rows with their cosine, nearest first. Begun at once. `where` may be empty: all rows."""
        return started(self._by_vector(vector, where, limit))

    def by_text(self, text: str, where: str, limit: int) -> Future[dict[int, float]]:
        """Rows with their BM25, best first; those with no word of `text` are left out. Otherwise as `by_vector`."""
        return started(self._by_text(text, where, limit))

    def rows(self, row_ids: Sequence[int]) -> pa.Table:
        """The PASSAGE_COLUMNS of rows, and `_rowid`."""
        return started(self._rows(row_ids)).result()

    def warm(self) -> None:
        """Open the table, so that the first query does not."""
        started(self._opened()).result()

    async def _by_vector(self, vector: npt.NDArray[np.float32], where: str, limit: int) -> dict[int, float]:
        query = (await self._opened()).query().nearest_to(vector).column("vector").distance_type("cosine")
        query = query.minimum_nprobes(_PROBES).maximum_nprobes(_ALL).refine_factor(_REFINE)
        query = query.where(where) if where else query
        found = await query.select(["_distance"]).with_row_id().limit(limit).to_arrow()
        return dict(zip(found["_rowid"].to_pylist(), (1 - found["_distance"].to_numpy()).tolist(), strict=True))

    async def _by_text(self, text: str, where: str, limit: int) -> dict[int, float]:
        query = (await self._opened()).query().nearest_to_text(text, columns=["content"])
        query = query.where(where) if where else query
        found = await query.select(["_score"]).with_row_id().limit(limit).to_arrow()
        return dict(zip(found["_rowid"].to_pylist(), found["_score"].to_pylist(), strict=True))

    async def _rows(self, row_ids: Sequence[int]) -> pa.Table:
        query = (await self._opened()).take_row_ids(list(row_ids)).select(list(PASSAGE_COLUMNS))
        return await query.with_row_id().to_arrow()

    async def _opened(self) -> AsyncTable:
        if self._table is None:
            table = await self._connection.open_table(self._name)
            await table.checkout(self._version)
            self._only_everybodys = await table.count_rows(visible(None, {})) == await table.count_rows()
            self._table = table
        return self._table


def started(work: Coroutine[Any, Any, T]) -> Future[T]:
    """What `work` will return, which runs on the loop of all queries of this process."""
    return asyncio.run_coroutine_threadsafe(work, _loop())


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="rag-queries", daemon=True).start()
    return loop
