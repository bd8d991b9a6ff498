"""/v1/rag over HTTP: what comes in, whose it is, what is told of it, and every mistake by its name."""

import base64
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from serve_app.core import CollectionNotFound, Overloaded, ReplicaLost, Retrieval, RetrieverError, Search
from tests.unit.memory_documents import MemoryDocuments

KEYS = {"api_keys": {"ann": "ann-secret-key", "bob": "bob-secret-key"}, "admin_keys": {"ops": "ops-secret-key"}}
ANN, BOB, OPS = ({"authorization": f"Bearer {name}-secret-key"} for name in ("ann", "bob", "ops"))
MANUAL = {"id": "manual.md", "text": "the pump needs oil", "metadata": {"year": "2024"}}


@pytest.fixture
def open_world(make_world: Callable[..., Any]) -> Any:
    return make_world(documents=MemoryDocuments())


@pytest.fixture
def world(make_world: Callable[..., Any]) -> Any:
    """With keys of two users and an admin."""
    return make_world(documents=MemoryDocuments(), overrides={"gateway": KEYS})


async def put(world: Any, *documents: dict[str, Any], headers: Any = None, **more: Any) -> httpx.Response:
    return await world.http.post("/v1/rag/documents", json={"documents": list(documents), **more}, headers=headers)


async def found(world: Any, q: str, headers: Any = None, **params: Any) -> list[str]:
    answer = await world.http.get("/v1/rag/search", params={"q": q, **params}, headers=headers)
    assert answer.status_code == 200, answer.text
    return [passage["document_id"] for passage in answer.json()["data"]]


async def test_what_was_sent_is_listed_found_and_deleted(open_world: Any) -> None:
    report = (await put(open_world, MANUAL, {"text": "the roof is green"})).json()
    assert (report["documents"], report["errors"], report["collection"]) == (2, [], "default")
    assert await found(open_world, "pump oil") == ["manual.md"]
    listed = (await open_world.http.get("/v1/rag/documents")).json()["data"]
    assert {entry["id"]: entry["owner"] for entry in listed}["manual.md"] is None
    (collection,) = (await open_world.http.get("/v1/rag/collections")).json()["data"]
    assert (collection["name"], collection["documents"]) == ("default", 2)
    gone = (await open_world.http.delete("/v1/rag/documents/manual.md")).json()
    assert gone == {"object": "rag.document", "id": "manual.md", "collection": "default", "deleted": True}
    assert await found(open_world, "pump oil") == []


async def test_files_of_a_form_are_known_by_their_path_and_carry_its_metadata(open_world: Any) -> None:
    files = [("files", ("guide/pump.txt", b"grease the pump", "application/octet-stream"))]
    fields = {"collection": "plant", "metadata": json.dumps({"year": "2024"})}
    answer = await open_world.http.post("/v1/rag/documents", files=files, data=fields)
    assert answer.status_code == 200, answer.text
    (document,) = open_world.documents.held["plant"].values()
    assert (document.document_id, document.source, document.media_type) == ("guide/pump.txt", "guide/pump.txt", "")
    assert await found(open_world, "pump", collection="plant", where="year:2024") == ["guide/pump.txt"]
    assert await found(open_world, "pump", collection="plant", where="year:1999") == []
    assert (await open_world.http.delete("/v1/rag/documents/guide%2Fpump.txt?collection=plant")).status_code == 200


async def test_good_documents_land_and_bad_ones_are_named(open_world: Any) -> None:
    data = base64.b64encode(b"poison in a file").decode()
    answer = await put(open_world, MANUAL, {"id": "bad.pdf", "data": data})
    assert answer.status_code == 207
    assert answer.json()["errors"] == [{"id": "bad.pdf", "message": "'bad.pdf' cannot be read; mend it."}]
    assert await found(open_world, "pump oil") == ["manual.md"]
    answer = await put(open_world, {"id": "bad.pdf", "data": data})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "'bad.pdf' cannot be read; mend it."
    assert [error["id"] for error in answer.json()["errors"]] == ["bad.pdf"]


async def test_a_user_writes_and_removes_its_own_and_sees_its_own_and_everybody_s(world: Any) -> None:
    for headers, text in ((ANN, "oil of ann"), (BOB, "oil of bob"), (OPS, "oil of all")):
        assert (await put(world, {"id": "one", "text": text}, headers=headers)).status_code == 200
    seen = {
        name: [
            (entry["id"], entry["owner"])
            for entry in (await world.http.get("/v1/rag/documents", headers=headers)).json()["data"]
        ]
        for name, headers in (("ann", ANN), ("bob", BOB), ("ops", OPS))
    }
    assert seen == {
        "ann": [("one", None), ("one", "ann")],
        "bob": [("one", None), ("one", "bob")],
        "ops": [("one", None)],
    }
    assert len(await found(world, "oil", ANN)) == 2
    assert (await world.http.delete("/v1/rag/documents/one", headers=ANN)).status_code == 200
    assert (await world.http.delete("/v1/rag/documents/one", headers=ANN)).status_code == 404
    assert set(world.documents.held["default"]) == {(None, "one"), ("bob", "one")}


async def test_an_admin_writes_for_a_named_key_and_a_user_for_nobody_else(world: Any) -> None:
    assert (await put(world, MANUAL, headers=OPS, owner="ann")).status_code == 200
    assert await found(world, "pump", ANN) == ["manual.md"]
    assert await found(world, "pump", BOB) == []
    assert await found(world, "pump", OPS, owner="ann") == ["manual.md"]
    for response in (
        await put(world, MANUAL, headers=BOB, owner="ann"),
        await world.http.get("/v1/rag/search", params={"q": "pump", "owner": "ann"}, headers=BOB),
        await world.http.delete("/v1/rag/documents/manual.md", params={"owner": "ann"}, headers=BOB),
    ):
        assert (response.status_code, response.json()["error"]["param"]) == (403, "owner")


async def test_only_admins_drop_a_collection_and_nobody_without_a_key_gets_in(world: Any) -> None:
    await put(world, MANUAL, headers=ANN)
    assert (await world.http.delete("/v1/rag/collections/default", headers=ANN)).status_code == 403
    assert (await world.http.get("/v1/rag/collections")).status_code == 401
    assert (await world.http.delete("/v1/rag/collections/default", headers=OPS)).json()["deleted"] is True
    assert (await world.http.get("/v1/rag/documents", headers=ANN)).status_code == 404


async def test_pages_of_documents_end(open_world: Any) -> None:
    await put(open_world, *({"id": f"{number:02}", "text": "oil"} for number in range(5)))
    after, seen = None, []
    while True:
        params = {"limit": 2} | ({"after": after} if after else {})
        page = (await open_world.http.get("/v1/rag/documents", params=params)).json()
        seen += [entry["id"] for entry in page["data"]]
        if not page["has_more"]:
            break
        after = seen[-1]
    assert seen == ["00", "01", "02", "03", "04"]


class Losing(MemoryDocuments):
    """Its replicas die at the first searches."""

    def __init__(self, deaths: int) -> None:
        super().__init__()
        self.deaths = deaths

    async def retrieve(self, search: Search) -> Retrieval:
        if self.deaths:
            self.deaths -= 1
            raise ReplicaLost("retriever lost the replica that was answering; try again.")
        return await super().retrieve(search)


@pytest.mark.parametrize(("deaths", "status"), [(1, 200), (2, 503)])
async def test_a_search_is_made_once_more_where_its_replica_was_lost(
    make_world: Callable[..., Any], deaths: int, status: int
) -> None:
    world = make_world(documents=Losing(deaths))
    await put(world, MANUAL)
    answer = await world.http.get("/v1/rag/search", params={"q": "pump"})
    assert answer.status_code == status
    if status == httpx.codes.SERVICE_UNAVAILABLE:
        assert answer.json()["error"]["code"] == "retriever_error"


async def test_a_search_has_the_settings_defaults_and_the_request_s_wishes(open_world: Any) -> None:
    await put(open_world, MANUAL)
    await found(open_world, "pump")
    await found(open_world, "pump", limit=3, mode="text", rerank=True, where=["a:b", "c:d:e"])
    plain, wished = open_world.documents.searches
    rag = open_world.services.settings.rag
    assert (plain.limit, plain.mode, plain.rerank, plain.where) == (rag.limit, rag.mode, rag.rerank, {})
    assert (wished.limit, wished.mode, wished.rerank) == (3, "text", True)
    assert wished.where == {"a": "b", "c": "d:e"}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "documents"),
        ({"documents": []}, "documents"),
        ({"documents": [{"id": "a"}]}, "documents.0"),
        ({"documents": [{"text": "a", "data": "YQ=="}]}, "documents.0"),
        ({"documents": [{"data": "no base64!"}]}, "documents.0.data"),
        ({"documents": [{"text": "a", "metadata": {"k": 1}}]}, "documents.0.metadata.k"),
        ({"documents": [{"text": "a", "colour": "red"}]}, "documents.0.colour"),
        ({"documents": [{"id": "a", "text": "a"}, {"id": "a", "text": "b"}]}, "documents"),
        ({"documents": [{"text": "a"}], "owner": "ann"}, "owner"),
        ({"documents": [{"text": "a"}] * 300}, "documents"),
        ({"documents": [{"text": "\ud800"}]}, None),
    ],
)
async def test_a_mistake_in_the_body_is_400_and_names_its_field(
    open_world: Any, body: dict[str, Any], param: str | None
) -> None:
    answer = await open_world.http.post("/v1/rag/documents", content=json.dumps(body))
    assert answer.status_code == 400
    assert (answer.json()["error"]["param"] or "").startswith(param or "")
    assert not open_world.documents.held


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({}, "q"),
        ({"q": ""}, "q"),
        ({"q": "  "}, "q"),
        ({"q": "a", "limit": 0}, "limit"),
        ({"q": "a", "mode": "magic"}, "mode"),
        ({"q": "a", "where": "novalue"}, "where"),
        ({"q": "a", "where": ["k:1", "k:2"]}, "where"),
        ({"q": "a", "owner": "ann"}, "owner"),
    ],
)
async def test_a_mistake_in_a_search_is_400_and_names_its_parameter(
    open_world: Any, params: dict[str, Any], param: str
) -> None:
    answer = await open_world.http.get("/v1/rag/search", params=params)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


async def test_a_form_s_mistakes_name_their_field(open_world: Any) -> None:
    file = ("files", ("a.txt", b"oil", "text/plain"))
    for fields, files, param in (
        ({"metadata": "{"}, [file], "metadata"),
        ({"metadata": '{"a": 1}'}, [file], "metadata.a"),
        ({"colour": "red"}, [file], "colour"),
        ({}, [file, file], "files"),
        ({}, [("files", ("/", b"oil", "text/plain"))], "files"),
    ):
        answer = await open_world.http.post("/v1/rag/documents", files=files, data=fields)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    headers = {"content-type": "multipart/form-data; boundary=x"}
    answer = await open_world.http.post("/v1/rag/documents", content=b"--x--\r\n", headers=headers)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "files")


async def test_documents_have_a_bound_of_their_own(make_world: Callable[..., Any]) -> None:
    bounds = {"gateway": {"max_body_bytes": 2048}, "rag": {"max_request_mb": 0.01}}
    world = make_world(documents=MemoryDocuments(), overrides=bounds)
    assert (await put(world, {"id": "a", "text": "oil " * 2000})).status_code == 200
    assert (await put(world, {"id": "a", "text": "oil " * 3000})).status_code == 413
    files = [("files", ("a.txt", b"oil " * 3000, "text/plain"))]
    assert (await world.http.post("/v1/rag/documents", files=files)).status_code == 413


async def test_a_graph_without_a_retriever_says_so(make_world: Callable[..., Any]) -> None:
    world = make_world()
    for answer in (
        await put(world, MANUAL),
        await world.http.get("/v1/rag/search", params={"q": "a"}),
        await world.http.get("/v1/rag/documents"),
        await world.http.delete("/v1/rag/collections/a"),
    ):
        assert answer.status_code == 404
        assert "rag.enabled" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (RetrieverError("The store is away; try again."), 503, "retriever_error"),
        (Overloaded("Too many wait.", 5), 429, "overloaded"),
        (CollectionNotFound("There is no collection 'a'.", "collection"), 404, "collection_not_found"),
    ],
)
async def test_what_the_retriever_raises_is_told_in_openai_s_shape(
    open_world: Any, error: Exception, status: int, code: str
) -> None:
    open_world.documents.broken = error
    for answer in (await put(open_world, MANUAL), await open_world.http.get("/v1/rag/search", params={"q": "a"})):
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
        assert answer.json()["error"]["message"] == str(error)


async def test_the_description_has_both_ways_to_send_documents(open_world: Any) -> None:
    described = (await open_world.http.get("/openapi.json")).json()
    content = described["paths"]["/v1/rag/documents"]["post"]["requestBody"]["content"]
    assert set(content) == {"application/json", "multipart/form-data"}
    assert "IngestBody" in described["components"]["schemas"]


async def test_a_page_does_not_end_between_two_documents_of_one_id(world: Any) -> None:
    for headers in (ANN, OPS):
        await put(world, *({"id": name, "text": "oil"} for name in "abc"), headers=headers)
    after, seen = None, []
    while True:
        params = {"limit": 1} | ({"after": after} if after else {})
        page = (await world.http.get("/v1/rag/documents", params=params, headers=ANN)).json()
        seen += [(entry["id"], entry["owner"]) for entry in page["data"]]
        if not page["has_more"]:
            break
        after = seen[-1][0]
    assert seen == [(name, owner) for name in "abc" for owner in (None, "ann")]
