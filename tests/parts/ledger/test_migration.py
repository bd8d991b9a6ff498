"""From the schema of the first release to today's: nothing of an account is lost, and the totals are there."""

from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine, text

from serve_app.core import Answer, Attempt, Usage
from serve_app.ledger import SqlLedger
from serve_app.ledger.times import DAY_S, HOUR_S
from serve_app.store import migrate, store_url

QUERY = (
    "INSERT INTO queries (query_id, created_at_s, requested_model, outcome, key_id, route, model, escalated, reason,"
    " first_token_ms, ms, price_version, cost_nusd, always_large_nusd, always_large_basis, num_attempts, prompt_tokens,"
    " completion_tokens, busy_ns) VALUES (:query_id, :at, 'auto', :outcome, :key, 'legal', 'large', true, 'low', 81.5,"
    " 912.5, 'p1', 30, 20, 'measured', 2, 190, 30, 1750000000)"
)
ATTEMPT = (
    "INSERT INTO attempts (query_id, attempt_index, choice_index, node, model, outcome, prompt_tokens, cached_tokens,"
    " completion_tokens, busy_ns, ms, cost_nusd) VALUES (:query_id, :index, 0, 'fallback', 'large', :outcome, 95, 8,"
    " 15, 875000000, 12.5, 15)"
)
MOMENTS = {"q1": 1000.0, "q2": 1800.0, "q3": 100_000.0, "q4": -5.0}


@pytest.fixture(params=["sqlite", "postgres"])
def old_url(request, tmp_path) -> Iterator[str]:
    """A database of the first release with some accounts in it."""
    url = str(tmp_path / "old.sqlite3") if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    engine = create_engine(store_url(url))
    with engine.begin() as connection:
        migrate.upgrade(connection, "0001")
        for query_id, at in MOMENTS.items():
            outcome = "shadow" if query_id == "q4" else "accepted"
            key = None if query_id == "q3" else "k1"
            connection.execute(text(QUERY), {"query_id": query_id, "at": at, "outcome": outcome, "key": key})
            rows = [{"query_id": query_id, "index": index, "outcome": outcome} for index in range(2)]
            connection.execute(text(ATTEMPT), rows)
    engine.dispose()
    yield url


def expected(query_id: str) -> Answer:
    outcome = "shadow" if query_id == "q4" else "accepted"
    role = "shadow" if query_id == "q4" else "answer"
    attempt = Attempt("fallback", "large", None, outcome, Usage(95, 8, 15, 0.875), 12.5, cost_nusd=15, role=role)
    return Answer(
        query_id, MOMENTS[query_id], "auto", outcome, (attempt, attempt), key_id=None if query_id == "q3" else "k1",
        route="legal", model="large", escalated=True, reason="low", first_token_ms=81.5, ms=912.5, price_version="p1",
        cost_nusd=30, always_large_nusd=20, always_large_basis="measured",
    )  # fmt: skip


async def test_accounts_are_carried_over_whole(old_url):
    ledger = SqlLedger(old_url)
    await ledger.open()
    assert [await ledger.account(name) for name in MOMENTS] == [expected(name) for name in MOMENTS]
    await ledger.close()


async def test_totals_are_those_that_recording_the_accounts_anew_would_give(old_url, tmp_path):
    carried, fresh = SqlLedger(old_url), SqlLedger(str(tmp_path / "fresh.sqlite3"))
    for ledger in (carried, fresh):
        await ledger.open()
    await fresh.record([expected(name) for name in MOMENTS])
    read = text("SELECT * FROM rollups ORDER BY coarse, span_s, start_s, group_id")
    rows = [
        await ledger.store.read(lambda c: [tuple(map(plain, row)) for row in c.execute(read)])
        for ledger in (carried, fresh)
    ]
    assert rows[0] == rows[1]
    assert {row[1:3] for row in rows[0]} == {
        (HOUR_S, -HOUR_S), (HOUR_S, 0), (HOUR_S, 97_200), (DAY_S, -DAY_S), (DAY_S, 0), (DAY_S, DAY_S)
    }  # fmt: skip
    for since_s, until_s, group_by in ((None, None, ("route", "key", "hour")), (-10.0, 1500.0, ("outcome",))):
        assert await carried.stats(since_s, until_s, group_by) == await fresh.stats(since_s, until_s, group_by)
    for ledger in (carried, fresh):
        await ledger.close()


def plain(value: object) -> object:
    return bytes(value) if isinstance(value, memoryview) else int(value) if isinstance(value, bool) else value


async def test_what_was_recorded_before_is_not_recorded_again(old_url):
    ledger = SqlLedger(old_url)
    await ledger.open()
    await ledger.record([expected("q1"), expected("q3")])
    totals = (await ledger.stats(None, None, ()))["totals"]
    assert (totals["queries"], totals["shadows"], totals["attempts"]) == (3, 1, 8)
    await ledger.close()


async def test_an_upgrade_leaves_none_of_the_old_tables(old_url):
    ledger = SqlLedger(old_url)
    await ledger.open()
    for table in ("queries_0001", "attempts_0001"):
        assert await ledger.store.read(lambda c, name=table: c.dialect.has_table(c, name)) is False
    await ledger.close()
