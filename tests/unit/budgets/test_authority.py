"""The authority: spending before it, gateways that died, old windows, a real database."""

import pytest
from sqlalchemy import select

from serve_app.budgets import Amount, Ask, Budget, BudgetAuthority
from serve_app.budgets.budget import Meter
from serve_app.budgets.tables import budget_grants
from serve_app.budgets.windows import span_at
from serve_app.core import BudgetExceeded, LedgerError
from serve_app.store import Store

HOUR_S = 3600


async def grants(world):
    rows = await world.store.read(lambda connection: connection.execute(select(budget_grants)).all())
    return {(row.budget, row.gateway): row.granted_nusd for row in rows}


@pytest.mark.parametrize("per", ["minute", "day", "month"])
async def test_what_was_spent_before_the_first_grant_of_a_window_counts(world, per, nano):
    await world.record("old", None, 70, 0)
    await world.record("old", None, 500, 0, at_s=span_at(per, world.clock.now_s).start_s - 1)
    book, _ = world.gateway({"total": [{"per": per, "usd": nano(100)}]})
    with pytest.raises(BudgetExceeded):
        await book.reserve("q", None, 31, 0)
    await book.reserve("q", None, 30, 0)


@pytest.mark.parametrize(("who", "tokens"), [("ada", 60), (None, 30)])
async def test_only_the_spending_of_the_budgets_own_queries_counts(world, who, tokens, key):
    await world.record("old", "ada", 0, 40)
    await world.record("old", None, 0, 70)
    book, _ = world.gateway({"each_key": [{"per": "day", "tokens": 100}]})
    spender = None if who is None else key(who)
    with pytest.raises(BudgetExceeded):
        await book.reserve("q", spender, 0, tokens + 1)
    await book.reserve("q", spender, 0, tokens)


async def test_the_grants_of_a_dead_gateway_become_what_its_queries_cost(world, nano):
    settings = {"total": [{"per": "day", "usd": nano(100)}], "slice_share": 1}
    dead, line = world.gateway(settings)
    await dead.reserve("q", None, 30, 0)
    await dead.reserve("lost", None, 40, 0)
    dead.settle("q", 25, 0)
    line.fault = "request"
    await world.record("g0", None, 25, 0)
    for _ in range(2):
        assert await world.authority.reclaim("g0") == 1
    assert (await grants(world))["total/day", "g0"] == 25
    book, _ = world.gateway(settings)
    await book.reserve("r", None, 75, 0)


async def test_only_windows_still_open_are_reclaimed(world, nano):
    limits = [{"per": "minute", "usd": nano(100)}, {"per": "day", "usd": nano(100)}]
    dead, line = world.gateway({"total": limits})
    await dead.reserve("q", None, 30, 0)
    line.fault = "request"
    world.clock.now_s += 60
    assert await world.authority.reclaim("g0") == 1
    held = await grants(world)
    assert held["total/minute", "g0"] >= 30
    assert held["total/day", "g0"] == 0


async def test_what_a_gateway_held_comes_back_when_nothing_was_heard_of_it_for_long(world, nano):
    settings = {"total": [{"per": "month", "usd": nano(100)}], "slice_share": 1}
    dead, line = world.gateway(settings)
    await dead.reserve("q", None, 30, 0)
    line.fault = "request"
    await world.record("g0", None, 25, 0)
    world.clock.now_s += HOUR_S - 1
    assert await world.authority.reclaim_silent(HOUR_S) == 0
    world.clock.now_s += 2
    assert await world.authority.reclaim_silent(HOUR_S) == 1
    book, _ = world.gateway(settings)
    await book.reserve("r", None, 75, 0)


@pytest.mark.parametrize("sign", ["asks", "accounts", "a ledger that began just now"])
async def test_a_gateway_that_was_heard_of_keeps_what_it_holds(world, nano, sign):
    book, _ = world.gateway({"total": [{"per": "month", "usd": nano(100)}], "slice_share": 1})
    await book.reserve("q", None, 30, 0)
    authority = world.authority
    world.clock.now_s += 2 * HOUR_S
    if sign == "asks":
        await book.tend()
    elif sign == "accounts":
        authority.heard({"g0"})
    else:
        authority = BudgetAuthority(world.store, world.clock)
    assert await authority.reclaim_silent(HOUR_S) == 0
    assert (await grants(world))["total/month", "g0"] >= 30


async def test_a_gateway_that_nobody_knows_has_nothing_to_reclaim(world):
    assert await world.authority.reclaim("stranger") == 0


async def test_old_windows_are_deleted_and_the_last_one_stays(world, nano):
    book, _ = world.gateway({"total": [{"per": "minute", "usd": nano(100)}]})
    starts = []
    for index in range(4):
        await book.reserve(f"q{index}", None, 1, 0)
        starts.append(span_at("minute", world.clock.now_s).start_s)
        world.clock.now_s += 2 * HOUR_S
    rows = await world.store.read(
        lambda connection: connection.execute(select(budget_grants.c.window_start_s).distinct()).scalars().all()
    )
    assert rows == starts[-1:]


async def test_a_lost_answer_is_put_right_by_the_next_message(world, nano):
    settings = {"total": [{"per": "day", "usd": nano(100)}], "slice_share": 0.5, "when_away": "refuse"}
    book, line = world.gateway(settings)
    line.fault = "answer"
    with pytest.raises(LedgerError):
        await book.reserve("q", None, 10, 0)
    assert (await grants(world))["total/day", "g0"] == 50
    line.fault, world.clock.now_s = None, world.clock.now_s + 10
    await book.reserve("q", None, 10, 0)
    book.settle("q", 10, 0)
    await book.close()
    assert (await grants(world))["total/day", "g0"] == 10


async def test_a_database_that_cannot_be_used_is_a_ledger_error(tmp_path):
    store = Store(str(tmp_path / "ledger.sqlite3"))
    await store.open()
    await store.close()
    budget = Budget(Meter("total", None, "day"), 1, None)
    with pytest.raises(LedgerError):
        await BudgetAuthority(store).lease("g", [Ask(budget, span_at("day", 0), Amount())])
    with pytest.raises(LedgerError):
        await BudgetAuthority(store).reclaim("g")
