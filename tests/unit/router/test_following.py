"""A router that is replaced while it is asked."""

import asyncio

from serve_app.adapters.registry.routing import Routing
from serve_app.core import DataError, LedgerError, RouteScore
from serve_app.router.following import RouterFollower


class Named:
    """A router whose label is its name."""

    def __init__(self, name):
        self.name = name

    async def score(self, conversation):
        return RouteScore(self.name, 1.0, {self.name: 1.0})


class Ledger:
    def __init__(self):
        self.routing = Routing()
        self.broken = False

    async def routing_since(self, revision):
        if self.broken:
            raise LedgerError("away")
        return None if revision == self.routing.revision else self.routing

    async def routing_files(self, digest):
        return {"router.json": digest.encode()}


def load(files):
    name = "settings" if files is None else files["router.json"].decode()
    if name == "damaged":
        raise DataError("The router is damaged.")
    return Named(name)


async def label(follower):
    return (await follower.router.score(())).label


async def test_it_takes_what_is_in_force_and_goes_back_to_the_settings():
    ledger = Ledger()
    follower = RouterFollower(load, ledger, 0.01)
    assert await label(follower) == "settings"
    ledger.routing = Routing(1, router="new")
    await follower.begin(1.0)
    assert (await label(follower), follower.digest) == ("new", "new")
    ledger.routing = Routing(2)
    await follower.refresh()
    assert (await label(follower), follower.digest) == ("settings", None)


async def test_routes_alone_load_no_router_again():
    ledger = Ledger()
    follower = RouterFollower(load, ledger, 0.01)
    before = follower.router
    ledger.routing = Routing(1, routes={"a": "b"})
    await follower.refresh()
    assert follower.router is before


async def test_the_router_before_answers_while_the_next_one_cannot_be_had():
    ledger = Ledger()
    follower = RouterFollower(load, ledger, 0.01)
    ledger.routing = Routing(1, router="damaged")
    await follower.begin(0.03)
    assert await label(follower) == "settings"
    assert isinstance(follower.last_error, DataError)
    ledger.broken = True
    await follower.refresh()
    assert isinstance(follower.last_error, LedgerError)
    ledger.broken, ledger.routing = False, Routing(2, router="good")
    following = asyncio.create_task(follower.run())
    async with asyncio.timeout(30):
        while await label(follower) != "good":  # noqa: ASYNC110  the router has no event
            await asyncio.sleep(0.01)
    following.cancel()
