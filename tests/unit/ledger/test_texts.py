"""Kept prompts and answers, on SQLite."""

from dataclasses import replace

import pytest
from sqlalchemy import event

from serve_app.core import LedgerError
from serve_app.ledger import texts as module
from serve_app.ledger.texts import StoredText, TextStore, Wanted
from serve_app.store import Store

DAY_S = 86_400.0

TEXT = StoredText(
    query_id="q1",
    created_at_s=10 * DAY_S + 5,
    key_id="ada",
    prompt='[{"role": "user", "content": "Grüße"}]',
    answer="Guten Tag\u2028!",
    model="small",
    adapter="legal",
    adapter_version="v1",
    escalated=True,
)
BARE = replace(TEXT, query_id="q2", key_id=None, model=None, adapter=None, adapter_version=None, escalated=False)


@pytest.fixture
def store(ledger):
    return TextStore(ledger.store)


async def test_texts_come_back_as_they_were_put(store):
    await store.put([TEXT, BARE])
    assert await store.of("q1") == TEXT
    assert await store.of("q2") == BARE
    assert await store.of("q3") is None


async def test_the_first_texts_of_a_query_stay(store):
    await store.put([TEXT])
    await store.put([replace(TEXT, answer="another"), BARE])
    assert await store.of("q1") == TEXT
    assert await store.of("q2") == BARE


async def test_nothing_to_keep_is_no_write(store, ledger):
    await store.put([TEXT])
    statements = []
    event.listen(ledger.store._writer_engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    await store.put([])
    assert statements == []


async def test_prune_deletes_by_the_day_that_a_query_arrived(store):
    days = [replace(TEXT, query_id=f"day{day}", created_at_s=day * DAY_S + DAY_S - 1) for day in range(8, 12)]
    await store.put(days)
    assert await store.prune(2, now_s=11 * DAY_S) == 1  # the days 9, 10 and 11 are kept
    assert await store.of("day8") is None
    assert [await store.of(text.query_id) for text in days[1:]] == days[1:]
    assert await store.prune(2, now_s=11 * DAY_S) == 0


async def test_prune_lets_others_write_meanwhile(ledger, store, monkeypatch):
    monkeypatch.setattr(module, "_TEXTS_AT_A_TIME", 3)
    await store.put([replace(TEXT, query_id=f"q{index}") for index in range(10)])
    counts = []
    event.listen(ledger.store._writer_engine, "commit", lambda connection: counts.append(1))
    assert await store.prune(1, now_s=20 * DAY_S) == 10
    assert len(counts) == 5
    assert await store.of("q9") is None


async def test_a_database_that_cannot_be_used_is_a_ledger_error(tmp_path):
    store = Store(str(tmp_path / "never-opened.sqlite3"))
    texts = TextStore(store)
    for call in (texts.put([TEXT]), texts.of("q1"), texts.prune(1, 0.0)):
        with pytest.raises(LedgerError):
            await call


async def test_pages_go_in_the_order_of_arrival_and_hold_what_is_wanted(store, monkeypatch):
    monkeypatch.setattr(module, "_TEXTS_AT_A_TIME", 2)
    same = [replace(TEXT, query_id=f"q{number}", created_at_s=11 * DAY_S) for number in (9, 7, 8)]
    others = [replace(BARE, created_at_s=12 * DAY_S), replace(TEXT, query_id="late", created_at_s=13 * DAY_S)]
    await store.put([*others, *same])
    wanted = Wanted(since_s=11 * DAY_S, until_s=13 * DAY_S, escalated=True)
    first = await store.page(wanted)
    second = await store.page(wanted, first[-1].text)
    assert [found.text.query_id for found in (*first, *second)] == ["q7", "q8", "q9"]
    assert await store.page(wanted, second[-1].text) == []
    assert [found.text.query_id for found in await store.page(Wanted(adapter="legal"))] == ["q7", "q8"]


async def test_a_page_has_the_route_of_the_account_where_there_is_one(store, ledger, answer, attempt):
    await store.put([replace(TEXT, created_at_s=1000.0), replace(BARE, created_at_s=1001.0)])
    await ledger.record([answer("q1", attempt("small", "accepted", 1, 1), route="legal")])
    assert [(found.text.query_id, found.route) for found in await store.page(Wanted())] == [
        ("q1", "legal"),
        ("q2", None),
    ]
    assert [found.text.query_id for found in await store.page(Wanted(route="legal"))] == ["q1"]
