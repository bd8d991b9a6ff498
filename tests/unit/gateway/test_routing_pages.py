"""/v1/routing: routes and router change while queries run."""

import json

import pytest
import pytest_asyncio

from serve_app.adapters.registry.routing import ROUTER_FILES, Routing, RoutingRegistry, digest_of
from serve_app.core import DataError
from serve_app.gateway import RoutingBook
from serve_app.store import Store

FILES = {name: f"bytes of {name}".encode() for name in ROUTER_FILES}


class Node:
    """`routing_…` as the ledger's handle has them."""

    def __init__(self, registry):
        self.routing_since, self.routing_history = registry.since, registry.history
        self.routing_apply = registry.apply


class Trial:
    def __init__(self):
        self.error = None

    async def trial(self, files):
        if self.error:
            raise self.error
        return ("legal", "finance")

    async def artifact_digest(self):
        return "d" * 64


@pytest_asyncio.fixture
async def routed(make_world, tmp_path):
    store = Store(f"sqlite:///{tmp_path}/ledger.db")
    await store.open()
    trial = Trial()
    book = RoutingBook(Node(RoutingRegistry(store)), trial, 0.01)
    world = make_world(routing=book)
    world.trial = trial
    yield world
    await store.close()


async def patch(world, body):
    return await world.http.patch("/v1/routing", json=body)


def form(files=FILES):
    return [("files", (name, data)) for name, data in files.items()]


async def adapter_of(world, text="a contract"):
    return (await world.chat(text)).json()["headrace"]["adapter"]


async def test_routes_change_for_the_next_query(routed):
    assert await adapter_of(routed) == "legal"
    told = (await patch(routed, {"routes": {"legal": "base"}})).json()
    assert (told["revision"], told["routes"], told["default"]) == (1, {"legal": "base"}, "base")
    assert await adapter_of(routed) is None
    assert (await patch(routed, {"routes": None})).json()["routes"] == {"legal": "legal"}
    assert await adapter_of(routed) == "legal"


async def test_a_routing_that_was_overtaken_is_not_gone_back_to_and_a_restored_database_is(routed):
    book = routed.services.routing
    book.take(Routing(5, routes={"legal": "base"}))
    book.take(Routing(4, routes={"legal": "finance"}))
    assert await adapter_of(routed) is None
    await book.refresh()
    assert (book.routing.revision, await adapter_of(routed)) == (0, "legal")


async def test_routes_are_merged_and_null_removes_one(routed):
    told = (await patch(routed, {"routes": {"finance": "finance"}})).json()
    assert told["routes"] == {"legal": "legal", "finance": "finance"}
    assert told["not_served"] == {"finance": "finance"}
    assert (await patch(routed, {"routes": {"legal": None}})).json()["routes"] == {"finance": "finance"}


async def test_a_router_is_tried_and_comes_with_its_routes(routed):
    data = {"routes": json.dumps({"finance": "legal"}), "detail": "the domain finance"}
    told = await routed.http.patch("/v1/routing", data=data, files=form())
    assert told.status_code == 200, told.text
    assert told.json()["router"] == digest_of(FILES)
    assert told.json()["history"][0] | {"at": 0} == {
        "revision": 1,
        "at": 0,
        "actor": "open",
        "routes": {"legal": "legal", "finance": "legal"},
        "default": None,
        "router": digest_of(FILES),
        "detail": "the domain finance",
    }
    assert (await patch(routed, {"router": None})).json()["router"] is None
    assert (await patch(routed, {"router": digest_of(FILES)})).json()["router"] == digest_of(FILES)


async def test_a_router_that_cannot_be_loaded_changes_nothing(routed):
    routed.trial.error = DataError("The router is damaged.")
    answer = await routed.http.patch("/v1/routing", data={}, files=form())
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "router_rejected")
    assert (await routed.http.get("/v1/routing")).json()["revision"] == 0


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"routes": {"legal": "Not A Name"}}, 400, "routes.legal"),
        ({"default": "large"}, 400, "default"),
        ({"router": "0" * 64}, 409, "router"),
        ({"after": 7, "default": "legal"}, 409, "after"),
        ({"route": {}}, 400, "route"),
    ],
)
async def test_a_bad_change_is_refused_by_its_field(routed, body, status, param):
    answer = await patch(routed, body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param), answer.text


async def test_half_a_router_is_refused(routed):
    answer = await routed.http.patch("/v1/routing", files=form({"router.json": b"{}"}))
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "files")


async def test_the_cache_forgets_what_was_routed_otherwise(routed):
    before = routed.services.fingerprint.value
    routed.services.routing.take(Routing(1, routes={"legal": "base"}))
    changed = routed.services.fingerprint.value
    assert changed != before
    routed.services.routing._changed_at_s -= 60
    await routed.services.learn()
    assert routed.services.fingerprint.value != changed, "answers given while replicas followed are not kept"


async def test_a_gateway_that_cannot_read_it_keeps_the_last(routed):
    await patch(routed, {"routes": {"legal": "base"}})
    source = routed.services.routing.source

    async def away(revision):
        raise OSError("away")

    source.routing_since = away
    await routed.services.routing.refresh()
    assert await adapter_of(routed) is None
    assert isinstance(routed.services.routing.last_error, OSError)


async def test_a_server_without_it_says_so(world):
    answer = await world.http.get("/v1/routing")
    assert (answer.status_code, "settings" in answer.json()["error"]["message"]) == (404, True)
