"""The retriever's shim and its handle, over a scripted store; real stores and real Ray have their own tests."""

import asyncio
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest
from ray.exceptions import ActorDiedError

from serve_app.config import load
from serve_app.config.rag import RagSettings
from serve_app.core import (
    CollectionNotFound,
    Message,
    Query,
    ReplicaLost,
    Retrieval,
    RetrieverError,
    SamplingParams,
    Search,
)
from serve_app.deployments import retriever
from serve_app.deployments.documents import RetrieverHandle
from serve_app.deployments.ingest import StorePlace
from serve_app.deployments.retriever import RetrieverServer
from serve_app.patterns import DocumentSearch, Trace
from serve_app.rag import CollectionInfo, DocumentInfo

SEARCH = Search("pump", "default")
FOUND = Retrieval((), 0.0, "v1")
PLACE = StorePlace(RagSettings(follow_s=0.01), "/nowhere", "small", 1)


class Store:
    """Remembers on which threads it was asked; `refresh` fails while `away`."""

    def __init__(self) -> None:
        self.threads: set[int] = set()
        self.refreshed = 0
        self.away = False

    def search(self, search: Search) -> Retrieval:
        self.threads.add(threading.get_ident())
        return FOUND

    def refresh(self) -> None:
        self.threads.add(threading.get_ident())
        self.refreshed += 1
        if self.away:
            raise RetrieverError("The store is away; try again.")

    def documents(self, collection: str, key_id: str | None) -> list[DocumentInfo]:
        return [DocumentInfo(name, name, "", "", None, "", 0, 0, 0, "") for name in ("c", "a", "b")]


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(retriever, "bind_to_node", lambda: None)
    monkeypatch.setattr(StorePlace, "open", lambda self: Store())
    server = RetrieverServer.__new__(RetrieverServer)
    await server.__init__(PLACE)  # type: ignore[misc]
    yield server
    await server._background.stop()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110  what is waited for has no event
            await asyncio.sleep(0.005)


async def test_a_search_never_runs_on_the_replica_s_loop(server: Any) -> None:
    assert await server.retrieve(SEARCH) == FOUND
    await until(lambda: server._store.refreshed > 0)
    assert threading.get_ident() not in server._store.threads


async def test_a_replica_looks_for_changes_again_and_again_also_after_a_failure(server: Any) -> None:
    server._store.away = True
    await until(lambda: server._away is not None)
    with pytest.raises(RetrieverError, match="is away"):
        await server.alive()
    await server.check_health()
    server._store.away = False
    await until(lambda: server._away is None)
    await server.alive()


async def test_documents_come_in_pages_by_their_ids(server: Any) -> None:
    assert [info.document_id for info in await server.documents("default", None, 2, None)] == ["a", "b"]
    assert [info.document_id for info in await server.documents("default", None, 2, "b")] == ["c"]


class Losing:
    """Raises `error` the first times it is asked."""

    def __init__(self, error: Exception, times: int = 1) -> None:
        self.error, self.left, self.asked = error, times, 0

    async def retrieve(self, search: Search) -> Retrieval:
        return self._told()

    async def collections(self, key_id: str | None) -> tuple[CollectionInfo, ...]:
        self._told()
        return ()

    async def drop(self, collection: str) -> None:
        self._told()

    def _told(self) -> Retrieval:
        self.asked += 1
        if self.left:
            self.left -= 1
            raise self.error
        return FOUND


@pytest.mark.parametrize(("deaths", "outcomes"), [(1, ["failed", "accepted"]), (3, ["failed", "failed"])])
async def test_a_querys_search_whose_replica_dies_is_made_once_more_and_both_are_in_its_account(
    plain_handle: Any, deaths: int, outcomes: list[str]
) -> None:
    node = Losing(ActorDiedError(), deaths)
    search = DocumentSearch(RetrieverHandle(plain_handle(node)), load("demo"), has_large=False)
    trace = Trace(Query("q1", "rag", SamplingParams(), messages=(Message("user", "pump"),)))
    await search.consult(trace.query, trace, "default")
    assert [(one.node, one.outcome) for one in trace.answer().attempts] == [("retriever", told) for told in outcomes]
    assert (node.asked, trace.retried) == (2, ["retriever"])


async def test_a_handle_makes_a_search_once_and_a_list_once_more(plain_handle: Any) -> None:
    node = Losing(ActorDiedError())
    with pytest.raises(ReplicaLost):
        await RetrieverHandle(plain_handle(node)).retrieve(SEARCH)
    assert node.asked == 1
    node = Losing(ActorDiedError())
    assert await RetrieverHandle(plain_handle(node)).collections(None) == ()
    assert node.asked == 2


async def test_a_change_is_asked_once_and_other_errors_arrive_as_they_are(plain_handle: Any) -> None:
    node = Losing(RuntimeError("broken"))
    with pytest.raises(RetrieverError, match="retriever failed"):
        await RetrieverHandle(plain_handle(node)).drop("default")
    assert node.asked == 1
    with pytest.raises(CollectionNotFound):
        await RetrieverHandle(plain_handle(Losing(CollectionNotFound("No such collection.")))).retrieve(SEARCH)
    with pytest.raises(RetrieverError, match="retriever failed"):
        await RetrieverHandle(plain_handle(Losing(RuntimeError("broken")))).retrieve(SEARCH)


def test_where_a_store_lies_crosses_processes() -> None:
    assert pickle.loads(pickle.dumps(PLACE)) == PLACE
