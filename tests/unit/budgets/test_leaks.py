"""What a gateway holds finds its way back, whatever became of the message or of the query that asked for it."""

import asyncio

import pytest
from sqlalchemy import select

from serve_app.budgets.tables import budget_grants
from serve_app.core import BudgetExceeded

MONTH = {"each_key": [{"per": "month", "tokens": 1000}], "slice_share": 0.5}


async def granted(world):
    """Tokens that the authority's books give the gateway g0."""
    statement = select(budget_grants.c.granted_tokens).where(budget_grants.c.gateway == "g0")
    return await world.store.read(lambda connection: connection.execute(statement).scalar_one())


async def test_a_slice_whose_grant_was_never_heard_of_goes_back(world, key):
    book, line = world.gateway(MONTH)
    line.fault, line.once = "answer", True
    await book.reserve("q", key("ada"), 0, 100)
    book.settle("q", 0, 0)
    assert await granted(world) == 500
    world.clock.now_s += 11
    await book.tend()
    assert await granted(world) == 0


async def test_a_slice_that_a_cancelled_query_asked_for_goes_back(world, key):
    book, line = world.gateway(MONTH, tend_s=0.01)
    heard = asyncio.Event()

    class Slow:
        async def lease(self, gateway, asks):
            await line.lease(gateway, asks)
            heard.set()
            await asyncio.Event().wait()

    book._source = Slow()
    query = asyncio.create_task(book.reserve("q", key("ada"), 0, 100))
    await heard.wait()
    assert await granted(world) == 500
    query.cancel()
    await asyncio.wait([query])
    book._source = line
    async with asyncio.timeout(10):
        while await granted(world):  # noqa: ASYNC110 - the books have no event
            await asyncio.sleep(0.01)


async def test_a_query_is_not_refused_because_another_was_quicker_to_take_what_was_free(world):
    book, _ = world.gateway({"total": [{"per": "day", "tokens": 1000}], "slice_share": 0.05})
    await book.reserve("first", None, 0, 1)
    large = asyncio.create_task(book.reserve("large", None, 0, 150))
    await asyncio.sleep(0)
    await book.reserve("quick", None, 0, 40)
    await large
    assert book.report()[0].used.tokens >= 191


async def test_a_shadow_counts_in_the_budgets_of_all_queries_and_in_no_others(world):
    limits = [{"per": "day", "tokens": 1000}]
    book, _ = world.gateway({"total": limits, "each_key": limits})
    other, _ = world.gateway({"total": limits})
    book.charge(0, 900)
    await book.tend()
    with pytest.raises(BudgetExceeded, match="of all queries"):
        await other.reserve("q", None, 0, 200)
    assert [use.budget.meter.scope for use in book.report()] == ["total"]


async def test_a_shadow_on_record_is_charged_to_all_queries_and_not_to_those_with_no_key(world):
    await world.record("g9", None, 0, 300)
    await world.record("g9", None, 0, 500, outcome="shadow")
    limits = [{"per": "day", "tokens": 1000}, {"per": "minute", "tokens": 1000}]
    book, _ = world.gateway({"total": limits, "each_key": limits})
    await book.reserve("q", None, 0, 10)
    for lease in book._leases.values():
        assert lease.others.tokens == (800 if lease.budget.meter.scope == "total" else 300)


async def test_a_gateway_that_is_only_looked_at_remembers_no_windows_that_are_over(world):
    book, _ = world.gateway({"total": [{"per": "minute", "tokens": 1000}]})
    for _ in range(50):
        world.clock.now_s += 60
        assert len(book.report()) == 1
    assert len(book._leases) == 1
