"""The same ledger on PostgreSQL. Needs HEADRACE_TEST_POSTGRES, the URL of a database that the test may fill."""

import asyncio
import os
from collections.abc import Iterator
from dataclasses import replace
from uuid import uuid4

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

from serve_app.core import LedgerError
from serve_app.ledger import SqlLedger
from serve_app.ledger.tables import metadata
from serve_app.store import Store, StoreError, migrate


@pytest.fixture
def url() -> Iterator[str]:
    found = os.environ.get("HEADRACE_TEST_POSTGRES")
    if not found:
        pytest.skip("no PostgreSQL to test on; set HEADRACE_TEST_POSTGRES to a database URL")
    pytest.importorskip("psycopg")
    yield found


async def test_many_openers_upgrade_once_and_the_schema_is_the_declared_one(url):
    stores = [Store(url) for _ in range(4)]
    await asyncio.gather(*(store.open() for store in stores))
    assert await stores[0].read(migrate.current_revision) == "0001"
    assert await stores[1].read(lambda c: compare_metadata(MigrationContext.configure(c), metadata)) == []
    with pytest.raises(StoreError, match="read-only"):
        await stores[0].read(lambda c: c.execute(text("CREATE TABLE mine (x int)")))
    await asyncio.gather(*(store.close() for store in stores))


async def test_two_writers_with_the_same_queries_store_each_once(url, book, attempt, answer):
    ledgers = [SqlLedger(url) for _ in range(2)]
    await asyncio.gather(*(ledger.open() for ledger in ledgers))
    start_s, prefix = float(uuid4().int % 10**12), str(uuid4())
    tried = [attempt("small", "escalated", 100, 10), attempt("large", "accepted", 90, 20, busy_s=0.5)]
    first = book.price(answer(prefix, *tried, created_at_s=start_s, route="legal", escalated=True))
    batch = [replace(first, query_id=f"{prefix}-{index}") for index in range(1500)]
    await asyncio.gather(*(ledger.record(batch) for ledger in ledgers for _ in range(3)))
    stats = await ledgers[0].stats(start_s, start_s + 1, ("route", "model"))
    assert (stats["totals"]["queries"], stats["totals"]["attempts"]) == (1500, 3000)
    assert stats["totals"]["cost_usd"] == 1500 * first.cost_nusd / 1e9
    assert stats["totals"]["escalated"] == 1500
    assert stats["groups"][0]["route"] == "legal"
    assert len((await ledgers[1].query(f"{prefix}-7"))["attempts"]) == 2
    await asyncio.gather(*(ledger.close() for ledger in ledgers))


async def test_a_server_that_does_not_answer_is_one_sentence_without_the_password():
    pytest.importorskip("psycopg")
    ledger = SqlLedger("postgresql://ada:hunter2@127.0.0.1:1/ledger")
    with pytest.raises(LedgerError, match=r"^postgresql://127\.0\.0\.1:1/ledger cannot be used: ") as caught:
        await ledger.open()
    assert "hunter2" not in str(caught.value)
    await ledger.close()
