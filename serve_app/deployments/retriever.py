"""The retriever deployment: a document store in a replica.

It adds six things: threads, since a search must not hold up the replica's loop, loopback, a health check, a look every
`rag.follow_s` for what other replicas have changed, pages of what may be long, and the tasks that take documents in.
Changes have a thread of their own: one waits until nobody else writes to its collection, and searches must not.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from serve_app.core import Retrieval, RetrieverError, Search
from serve_app.deployments.background import Background
from serve_app.deployments.ingest import Intake, StorePlace
from serve_app.deployments.lag import Measured
from serve_app.deployments.logs import log_to_replica
from serve_app.deployments.loopback import bind_to_node
from serve_app.rag import CollectionInfo, Document, DocumentInfo, IngestReport

T = TypeVar("T")
_LOG = logging.getLogger("ray.serve")


class RetrieverServer(Measured):
    """One replica of the search in documents. What its methods raise: see `rag.store.DocumentStore`."""

    async def __init__(self, place: StorePlace) -> None:  # type: ignore[misc]
        """Serve awaits this. Raises what `StorePlace.open` raises."""
        bind_to_node()
        log_to_replica()
        self._store = await asyncio.to_thread(place.open)
        self._changes = ThreadPoolExecutor(1, "changes")
        self._intake = Intake(place)
        self._follow_s = place.settings.follow_s
        self._away: RetrieverError | None = None
        """Why the last look at the store failed."""
        self._background = Background()
        self._background.start(self._follow())

    async def retrieve(self, search: Search) -> Retrieval:
        """The best passages."""
        return await asyncio.to_thread(self._store.search, search)

    async def ingest(self, documents: Sequence[Document], collection: str, key_id: str | None) -> IngestReport:
        """Take documents in; returns when this replica finds them."""
        report = await self._intake.ingest(documents, collection, key_id)
        await asyncio.to_thread(self._store.refresh)
        return report

    async def documents(
        self, collection: str, key_id: str | None, limit: int, after: str | None
    ) -> tuple[DocumentInfo, ...]:
        """Those behind `after`, by their ids."""
        found = await asyncio.to_thread(self._store.documents, collection, key_id)
        behind = sorted((info for info in found if after is None or info.document_id > after), key=_order)
        return tuple(behind[:limit])

    async def remove(self, collection: str, document_id: str, key_id: str | None) -> bool:
        """Delete one document; whether there was one."""
        return await self._changed(self._store.remove, collection, document_id, key_id)

    async def collections(self, key_id: str | None) -> tuple[CollectionInfo, ...]:
        """Those that hold something of this key or of everybody."""
        return tuple(await asyncio.to_thread(self._store.collections, key_id))

    async def drop(self, collection: str) -> None:
        """Delete a collection with everybody's documents."""
        await self._changed(self._store.drop, collection)

    async def _changed(self, change: Callable[..., T], *arguments: str | None) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._changes, change, *arguments)

    async def alive(self) -> None:
        """Raises RetrieverError where the store could not be reached at the last look."""
        if self._away is not None:
            raise self._away

    async def check_health(self) -> None:
        """Serve replaces the replica when its background work has died; another one would miss the store as well."""
        self._background.check()

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self._follow_s)
            try:
                await asyncio.to_thread(self._store.refresh)
            except RetrieverError as error:
                if self._away is None:
                    _LOG.warning("The document store cannot be reached now: %s", error)
                self._away = error
            else:
                self._away = None


def _order(info: DocumentInfo) -> tuple[str, str]:
    return info.document_id, info.key_id or ""
