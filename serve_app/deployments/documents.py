"""The retriever over its handle: `core.Retriever`, and what the pages of documents ask."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from ray.serve.handle import DeploymentHandle

from serve_app.core import EngineError, ReplicaLost, Retrieval, RetrieverError, Search
from serve_app.deployments.results import result
from serve_app.deployments.routing import for_large
from serve_app.rag import CollectionInfo, Document, DocumentInfo, IngestReport

T = TypeVar("T")


class RetrieverHandle:
    """`gateway.documents.DocumentsNode` on the replicas of one deployment.

    Every method raises RetrieverError where none can be asked, and `retrieve` ReplicaLost where the replica was lost:
    whoever searches asks again, since each search of a query has its row in the account. The lists are in no account,
    and are asked for once more here.
    """

    def __init__(self, handle: DeploymentHandle) -> None:
        self._handle = handle

    async def retrieve(self, search: Search) -> Retrieval:
        """Search on one replica, once."""
        return await _read_once(self._handle.retrieve.remote(search))

    async def ingest(self, documents: Sequence[Document], collection: str, key_id: str | None) -> IngestReport:
        """One replica starts the task and waits for it."""
        response = for_large(self._handle).ingest.remote(tuple(documents), collection, key_id)
        return await _asked(response)

    async def documents(
        self, collection: str, key_id: str | None, limit: int, after: str | None = None
    ) -> tuple[DocumentInfo, ...]:
        """A page of them."""
        large = for_large(self._handle)
        return await self._read(lambda: large.documents.remote(collection, key_id, limit, after))

    async def remove(self, collection: str, document_id: str, key_id: str | None) -> bool:
        """Whether there was one."""
        return await _asked(self._handle.remove.remote(collection, document_id, key_id))

    async def collections(self, key_id: str | None) -> tuple[CollectionInfo, ...]:
        """By name."""
        return await self._read(lambda: self._handle.collections.remote(key_id))

    async def drop(self, collection: str) -> None:
        """With everybody's documents."""
        await _asked(self._handle.drop.remote(collection))

    async def alive(self) -> None:
        """Raises RetrieverError where one replica does not answer, or cannot reach its store."""
        await _asked(self._handle.alive.remote())

    async def _read(self, ask: Callable[[], Awaitable[T]]) -> T:
        try:
            return await _read_once(ask())
        except ReplicaLost:
            return await _asked(ask())


async def _read_once(response: Awaitable[T]) -> T:
    """Raises ReplicaLost as itself."""
    try:
        return await result(response, "retriever", EngineError)
    except ReplicaLost:
        raise
    except EngineError as error:
        raise RetrieverError(str(error)) from error


async def _asked(response: Awaitable[T]) -> T:
    return await result(response, "retriever", RetrieverError)
