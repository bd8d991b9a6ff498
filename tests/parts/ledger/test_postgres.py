"""The same ledger on PostgreSQL: many openers, two writers, a server that goes away."""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import text

from serve_app.core import LedgerError
from serve_app.ledger import SqlLedger
from serve_app.store import Store, StoreError, migrate


@pytest.fixture
def account(book, attempt, answer):
    """An escalated account of two attempts."""
    tried = [attempt("small", "escalated", 100, 10), attempt("large", "accepted", 90, 20, busy_s=0.5)]
    return book.price(answer("q", *tried, route="legal", escalated=True))


async def test_many_openers_upgrade_once(postgres_url):
    stores = [Store(postgres_url) for _ in range(4)]
    await asyncio.gather(*(store.open() for store in stores))
    assert await stores[0].read(migrate.current_revision) == "0006"
    with pytest.raises(StoreError, match="read-only"):
        await stores[0].read(lambda c: c.execute(text("CREATE TABLE mine (x int)")))
    await asyncio.gather(*(store.close() for store in stores))


async def test_two_writers_with_the_same_queries_store_and_count_each_once(postgres_url, account):
    ledgers = [SqlLedger(postgres_url) for _ in range(2)]
    await asyncio.gather(*(ledger.open() for ledger in ledgers))
    batch = [replace(account, query_id=f"q{index}", created_at_s=40_000.0 * index) for index in range(300)]
    await asyncio.gather(*(ledger.record(batch) for ledger in ledgers for _ in range(3)))
    stats = await ledgers[0].stats(None, None, ("route", "model"))
    assert (stats["totals"]["queries"], stats["totals"]["attempts"]) == (300, 600)
    assert stats["totals"]["cost_usd"] == 300 * account.cost_nusd / 1e9
    assert stats["totals"]["escalated"] == 300
    assert stats["groups"][0]["route"] == "legal"
    assert len((await ledgers[1].query("q7"))["attempts"]) == 2
    await asyncio.gather(*(ledger.close() for ledger in ledgers))


async def test_two_writers_of_other_queries_in_the_same_hour_lose_none(postgres_url, account):
    ledgers = [SqlLedger(postgres_url) for _ in range(2)]
    await asyncio.gather(*(ledger.open() for ledger in ledgers))
    await asyncio.gather(
        *(
            ledger.record([replace(account, query_id=f"{writer}-{batch}-{n}", ms=float(n + 1)) for n in range(20)])
            for batch in range(10)
            for writer, ledger in enumerate(ledgers)
        )
    )
    totals = (await ledgers[0].stats(None, None, ()))["totals"]
    assert (totals["queries"], totals["attempts"]) == (400, 800)
    assert totals["ms"]["p50"] == pytest.approx(10, rel=0.05)
    await asyncio.gather(*(ledger.close() for ledger in ledgers))


async def test_after_the_server_was_away_the_same_ledger_goes_on(postgres_cluster, postgres_url, account):
    ledger = SqlLedger(postgres_url)
    await ledger.open()
    await ledger.record([account])
    postgres_cluster.stop("immediate")
    with pytest.raises(LedgerError):
        await ledger.record([replace(account, query_id="q2")])
    with pytest.raises(LedgerError):
        await ledger.query("q")
    postgres_cluster.start()
    await ledger.record([account, replace(account, query_id="q2")])
    assert (await ledger.stats(None, None, ()))["totals"]["queries"] == 2
    await ledger.close()


@pytest.mark.parametrize(("option", "timeout_s"), [("", "10"), ("connect_timeout=7", "7")])
async def test_a_server_whose_machine_is_gone_is_given_up_within_a_minute(postgres_url, option, timeout_s):
    store = Store(f"{postgres_url}{'&' if '?' in postgres_url else '?'}{option}")

    def options(connection):
        return connection.connection.dbapi_connection.info.get_parameters()

    for run in (store.read, store.write):
        found = await run(options)
        assert (found["connect_timeout"], found["keepalives_idle"]) == (timeout_s, "15")
        assert (found["keepalives_count"], found["tcp_user_timeout"]) == ("3", "30000")
    await store.close()


async def test_readers_go_on_while_a_day_is_made(postgres_url, account):
    ledger = SqlLedger(postgres_url)
    await ledger.open()
    await ledger.record([account])
    began, release = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def reads(connection):
        connection.execute(text("SELECT count(*) FROM queries, attempts")).scalar_one()
        loop.call_soon_threadsafe(began.set)
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result(30)

    reading = asyncio.ensure_future(ledger.store.read(reads))
    await began.wait()
    async with asyncio.timeout(20):
        await ledger.record([replace(account, query_id="q2", created_at_s=500_000.0)])
    release.set()
    await reading
    await ledger.close()


async def test_a_server_that_does_not_answer_is_one_sentence_without_the_password():
    pytest.importorskip("psycopg")
    ledger = SqlLedger("postgresql://ada:hunter2@127.0.0.1:1/ledger")
    with pytest.raises(LedgerError, match=r"^postgresql://127\.0\.0\.1:1/ledger cannot be used: ") as caught:
        await ledger.open()
    assert "hunter2" not in str(caught.value)
    await ledger.close()
