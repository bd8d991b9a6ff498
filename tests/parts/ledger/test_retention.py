"""Old accounts go, totals stay; on SQLite and on PostgreSQL."""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import text

from serve_app.ledger import SqlLedger, partitions
from serve_app.ledger.sql import Pruned
from serve_app.ledger.times import DAY_S

NOW_S = 100.5 * DAY_S


@pytest.fixture(params=["sqlite", "postgres"])
async def ledger(request, tmp_path):
    url = str(tmp_path / "ledger.sqlite3") if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    opened = SqlLedger(url)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
async def four_days(ledger, book, attempt, answer):
    """Three accounts on each of four days, the last of which is today."""
    for day in (90, 97, 98, 100):
        one = book.price(answer("q", attempt("small", "accepted", 100, 10), attempt("large", "accepted", 90, 20)))
        await ledger.record(
            [replace(one, query_id=f"q{day}-{n}", created_at_s=(day + 0.1 * n) * DAY_S) for n in range(3)]
        )
    return one


async def counts(ledger):
    """Rows of queries and of attempts."""
    statement = text("SELECT (SELECT count(*) FROM queries), (SELECT count(*) FROM attempts)")
    return await ledger.store.read(lambda c: tuple(c.execute(statement).one()))


async def test_days_that_ended_long_enough_ago_go_and_the_totals_stay(ledger, four_days):
    before = await ledger.stats(None, None, ("hour", "model"))
    assert await ledger.prune(2, NOW_S) == Pruned(num_days=2, num_queries=6)
    assert await counts(ledger) == (6, 12)
    assert await ledger.query("q97-0") is None
    assert (await ledger.query("q98-0"))["query_id"] == "q98-0"
    assert await ledger.stats(None, None, ("hour", "model")) == before
    assert await ledger.prune(2, NOW_S) == Pruned(0, 0)


async def test_a_range_that_begins_in_a_pruned_day_counts_the_whole_hour(ledger, four_days):
    await ledger.prune(2, NOW_S)
    since_s = 97 * DAY_S + 60.0  # an account came at the day's first moment
    assert (await ledger.stats(since_s, None, ()))["totals"]["queries"] == 9
    assert (await ledger.stats(98 * DAY_S + 60.0, None, ()))["totals"]["queries"] == 5


async def test_an_account_that_comes_late_is_stored_and_goes_the_next_time(ledger, four_days):
    await ledger.prune(2, NOW_S)
    await ledger.record([replace(four_days, query_id="late", created_at_s=90.5 * DAY_S)])
    assert (await ledger.query("late"))["query_id"] == "late"
    assert (await ledger.stats(None, None, ()))["totals"]["queries"] == 13
    assert await ledger.prune(2, NOW_S) == Pruned(1, 1)
    assert (await ledger.stats(None, None, ()))["totals"]["queries"] == 13


async def test_accounts_are_stored_while_old_ones_are_deleted(ledger, four_days, monkeypatch):
    monkeypatch.setattr(partitions, "_ROWS_AT_A_TIME", 1)
    new = [replace(four_days, query_id=f"new{n}", created_at_s=NOW_S) for n in range(20)]
    pruned, *_ = await asyncio.gather(ledger.prune(2, NOW_S), *(ledger.record([one]) for one in new))
    assert pruned == Pruned(2, 6)
    assert await counts(ledger) == (26, 52)


async def test_postgresql_keeps_each_day_in_partitions_of_its_own(ledger, four_days):
    if ledger.store.dialect != "postgresql":
        pytest.skip("SQLite has no partitions")
    listed = text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'queries'::regclass ORDER BY 1")
    names = await ledger.store.read(lambda c: list(c.execute(listed).scalars()))
    assert names == ["queries_day_100", "queries_day_90", "queries_day_97", "queries_day_98"]
    await ledger.prune(2, NOW_S)
    names = await ledger.store.read(lambda c: list(c.execute(listed).scalars()))
    assert names == ["queries_day_100", "queries_day_98"]
