"""What was applied of routes and routers: one change is one row, and old routers go."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from serve_app.adapters.registry.routing import ROUTER_FILES, Routing, RoutingRegistry, digest_of
from serve_app.core import RequestError
from serve_app.store import Store


@pytest_asyncio.fixture
async def registry(tmp_path: Path) -> AsyncIterator[RoutingRegistry]:
    store = Store(f"sqlite:///{tmp_path}/ledger.db")
    await store.open()
    yield RoutingRegistry(store, clock=lambda: 5.0)
    await store.close()


def files(index: int = 0) -> dict[str, bytes]:
    return {name: f"{name} {index}".encode() for name in ROUTER_FILES}


async def test_at_first_the_settings_count(registry):
    assert await registry.since(-1) == Routing()
    assert await registry.since(0) is None


async def test_a_change_is_told_to_who_has_another_revision(registry):
    applied = await registry.apply(Routing(routes={"a": "b"}, fallback="base", actor="ops", detail="x"), None)
    assert applied == Routing(1, {"a": "b"}, "base", None, 5.0, "ops", "x")
    assert await registry.since(0) == applied
    assert await registry.since(1) is None
    assert await registry.history(10) == (applied,)


async def test_a_router_comes_with_its_files_and_can_be_gone_back_to(registry):
    digest = digest_of(files())
    await registry.apply(Routing(router=digest), files())
    assert await registry.files(digest) == files()
    await registry.apply(Routing(), None)
    assert (await registry.apply(Routing(router=digest), None)).revision == 3


async def test_what_is_in_force_is_not_applied_again(registry):
    await registry.apply(Routing(routes={"a": "b"}), None)
    assert (await registry.apply(Routing(routes={"a": "b"}, actor="other"), None)).revision == 1


async def test_two_who_change_at_once_do_not_overwrite_each_other(registry):
    await registry.apply(Routing(routes={"a": "b"}), None, after=0)
    with pytest.raises(RequestError, match="Revision 1 of the routing is in force, not 0"):
        await registry.apply(Routing(routes={"c": "d"}), None, after=0)


async def test_a_router_whose_files_are_not_here_is_refused(registry):
    with pytest.raises(RequestError, match="not kept"):
        await registry.apply(Routing(router="0" * 64), None)
    assert await registry.since(0) is None


async def test_routers_that_the_last_changes_do_not_name_are_deleted(registry):
    for index in range(12):
        await registry.apply(Routing(router=digest_of(files(index))), files(index))
    with pytest.raises(RequestError, match="There is no router"):
        await registry.files(digest_of(files(0)))
    assert await registry.files(digest_of(files(11))) == files(11)
