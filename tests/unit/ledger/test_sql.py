"""The SQL ledger: idempotent, all or nothing, and what it says of a query and of a range."""

import pickle
from dataclasses import replace

import pytest
from sqlalchemy import text

from serve_app.core import LedgerError, RequestError
from serve_app.ledger import SqlLedger, public_account
from serve_app.ledger.latency import ERROR_SHARE
from serve_app.store import Store


async def test_a_stored_query_reads_back_as_it_was_recorded(ledger, full):
    await ledger.record([full])
    assert await ledger.account("q-full") == full
    assert await ledger.query("q-full") == {
        **public_account(full), "created_at_s": 1000.0, "requested_model": "auto", "key_id": "k1", "gateway": "g1",
        "shadow_of": "q-before",
    }  # fmt: skip


async def test_an_unknown_query_is_none(ledger):
    assert await ledger.query("nobody") is None


async def test_a_second_record_of_an_id_changes_nothing(ledger, full):
    await ledger.record([full])
    await ledger.record([replace(full, outcome="failed", attempts=full.attempts * 2, route="code")])
    stored = await ledger.query("q-full")
    assert (stored["outcome"], stored["route"], len(stored["attempts"])) == ("accepted", "legal", 2)
    assert (await ledger.stats(None, None, ()))["totals"]["attempts"] == 2


async def test_of_repeats_within_a_batch_the_first_counts(ledger, full):
    await ledger.record([full, replace(full, route="code"), replace(full, route="medical")])
    assert (await ledger.query("q-full"))["route"] == "legal"
    assert (await ledger.stats(None, None, ()))["totals"]["queries"] == 1


async def test_a_batch_is_stored_whole_or_not_at_all(ledger, full):
    good = replace(full, query_id="q-good")
    bad = replace(full, query_id="q-bad", requested_model=None)
    with pytest.raises(LedgerError, match="NOT NULL"):
        await ledger.record([good, bad])
    assert await ledger.query("q-good") is None
    assert (await ledger.stats(None, None, ()))["totals"]["queries"] == 0


@pytest.mark.parametrize(
    "bad", [{"ms": float("nan")}, {"ms": None}, {"created_at_s": float("inf")}, {"route": "\ud800"}]
)
async def test_a_value_that_no_column_takes_is_an_error_of_the_ledger(ledger, full, bad):
    with pytest.raises(LedgerError):
        await ledger.record([replace(full, **bad)])


async def test_a_full_disk_is_an_error_and_the_batch_can_be_sent_again(ledger, full):
    batch = [replace(full, query_id=f"q{index}") for index in range(500)]
    pages = await ledger.store.write(lambda c: c.execute(text("PRAGMA page_count")).scalar_one())
    await ledger.store.write(lambda c: c.execute(text(f"PRAGMA max_page_count={pages + 5}")))
    with pytest.raises(LedgerError, match="disk is full"):
        await ledger.record(batch)
    await ledger.store.write(lambda c: c.execute(text("PRAGMA max_page_count=1000000")))
    await ledger.record(batch)
    assert (await ledger.stats(None, None, ()))["totals"]["queries"] == 500


async def test_an_empty_batch_and_an_account_without_attempts_are_fine(ledger, book, answer):
    await ledger.record([])
    await ledger.record([book.price(answer("q0", outcome="failed"))])
    assert (await ledger.query("q0"))["attempts"] == []


async def test_a_batch_larger_than_the_parameter_limit_of_sqlite_is_stored(ledger, full):
    await ledger.record([replace(full, query_id=f"q{index}") for index in range(2000)])
    totals = (await ledger.stats(None, None, ()))["totals"]
    assert (totals["queries"], totals["attempts"]) == (2000, 4000)


async def test_totals_are_those_of_the_public_accounts(ledger, full):
    await ledger.record([full])
    stats = await ledger.stats(None, None, ())
    totals = stats["totals"]
    assert {name: totals[name] for name in ("saved_by", "cost_usd", "always_large_usd", "saved_usd")} == {
        name: public_account(full)[name] for name in ("saved_by", "cost_usd", "always_large_usd", "saved_usd")
    }
    assert {name: value for name, value in totals.items() if not name.endswith("usd") and name != "saved_by"} == {
        "queries": 1, "shadows": 0, "lost": 0, "attempts": 2, "prompt_tokens": 190, "cached_tokens": 8,
        "completion_tokens": 30, "saved_share": (full.always_large_nusd - full.cost_nusd) / full.always_large_nusd,
        "cache_hits": 1, "cache_hit_rate": 1.0, "escalated": 1, "escalation_rate": 1.0, "busy_s": 1.75,
        "ms": dict.fromkeys(("p50", "p95", "p99"), pytest.approx(912, rel=ERROR_SHARE)),
        "first_token_ms": dict.fromkeys(("p50", "p95", "p99"), pytest.approx(81.5, rel=ERROR_SHARE)),
    }  # fmt: skip
    assert stats["groups"] == []
    assert stats["price_versions"] == ["test-1"]
    assert stats["always_large_basis"] == {"measured": 1, "estimated": 0}
    assert stats["percentile_error_share"] == ERROR_SHARE


async def test_a_shadow_and_a_lost_query_have_no_latency(ledger, full):
    shadow, lost = (replace(full, query_id=outcome, outcome=outcome) for outcome in ("shadow", "lost"))
    await ledger.record([shadow, lost])
    totals = (await ledger.stats(None, None, ()))["totals"]
    assert (totals["queries"], totals["shadows"], totals["lost"]) == (1, 1, 1)
    assert totals["ms"] == totals["first_token_ms"] == {"p50": None, "p95": None, "p99": None}
    assert (await ledger.stats(900.0, 1100.0, ()))["totals"]["ms"]["p50"] is None


async def test_hours_come_in_order_whether_from_totals_or_from_accounts(ledger, full):
    await ledger.record([replace(full, query_id=f"q{at}", created_at_s=float(at)) for at in (100, 3700, 3800, 7300)])
    for since_s, until_s in ((None, None), (50.0, 7400.0)):
        groups = (await ledger.stats(since_s, until_s, ("hour", "route")))["groups"]
        assert [(group["hour"], group["queries"]) for group in groups] == [(0, 1), (3600, 2), (7200, 1)]


async def test_stats_and_spend_of_one_key_of_none_and_of_all(ledger, full):
    keys = {"q1": "k1", "q2": "k2", "q3": None, "q4": None}
    await ledger.record([replace(full, query_id=name, key_id=key) for name, key in keys.items()])
    for key_id, num_queries in ((None, 4), ("k1", 1), ("", 2), ("k3", 0)):
        for since_s in (None, 900.0):
            assert (await ledger.stats(since_s, None, (), key_id))["totals"]["queries"] == num_queries
            spent = await ledger.spend(key_id, since_s)
            assert (spent.nusd, spent.tokens) == (num_queries * full.cost_nusd, num_queries * 220)
        assert len(await ledger.recent(10, key_id=key_id)) == num_queries


async def test_pages_of_recent_accounts_follow_each_other_newest_first(ledger, full):
    moments = {"q1": 5.0, "q2": 100_000.0, "q3": 7.0, "q4": 7.0, "q5": 7.0}
    await ledger.record([replace(full, query_id=name, created_at_s=at) for name, at in moments.items()])
    seen, before = [], None
    while page := await ledger.recent(2, before):
        seen += [account["query_id"] for account in page]
        before = (page[-1]["created_at_s"], page[-1]["query_id"])
    assert seen == ["q2", "q5", "q4", "q3", "q1"]
    assert [account["query_id"] for account in await ledger.recent(9, 7.0)] == ["q1"]
    assert (await ledger.recent(1))[0] == await ledger.query("q2")


async def test_what_is_shared_goes_through_one_store(tmp_path, full):
    store = Store(str(tmp_path / "l.sqlite3"))
    ledger = SqlLedger(store)
    await ledger.open()
    await ledger.record([full])
    assert ledger.store is store
    assert await store.read(lambda c: c.execute(text("SELECT count(*) FROM queries")).scalar_one()) == 1
    await ledger.close()


async def test_until_is_exclusive_and_since_inclusive(ledger, full):
    await ledger.record([replace(full, query_id=f"q{at}", created_at_s=float(at)) for at in (10, 20, 30)])
    stats = await ledger.stats(10.0, 30.0, ())
    assert (stats["since"], stats["until"], stats["totals"]["queries"]) == (10.0, 30.0, 2)


async def test_groups_combine_and_come_dearest_first(ledger, full, book, attempt, answer):
    cheap = book.price(answer("q2", attempt("small", "accepted", 5, 5), route="code", model="small"))
    await ledger.record([full, replace(full, query_id="q3"), cheap])
    groups = (await ledger.stats(None, None, ("route", "model", "key", "outcome", "adapter")))["groups"]
    assert [(g["route"], g["model"], g["key"], g["outcome"], g["adapter"], g["queries"]) for g in groups] == [
        ("legal", "large", "k1", "accepted", None, 2),
        ("code", "small", None, "accepted", None, 1),
    ]


async def test_price_versions_are_told_apart_and_unpriced_queries_are_seen(ledger, full):
    others = [replace(full, query_id="q2", price_version="test-2"), replace(full, query_id="q3", price_version=None)]
    await ledger.record([full, *others, replace(full, query_id="q4")])
    stats = await ledger.stats(None, None, ("route",))
    assert stats["price_versions"][0] == "test-1"
    assert set(stats["price_versions"]) == {"test-1", "test-2", None}
    assert [group["queries"] for group in stats["groups"]] == [4]


async def test_an_empty_range_has_no_rates(ledger):
    stats = await ledger.stats(5.0, 5.0, ("route",))
    assert (stats["totals"]["queries"], stats["totals"]["saved_share"], stats["groups"]) == (0, None, [])


async def test_an_unknown_group_names_the_parameter(ledger):
    with pytest.raises(
        RequestError, match="unknown key 'colour'; use route, adapter, adapter_version, model"
    ) as caught:
        await ledger.stats(None, None, ("route", "colour"))
    assert caught.value.param == "group_by"


async def test_a_closed_ledger_says_so(tmp_path, full):
    ledger = SqlLedger(str(tmp_path / "l.sqlite3"))
    await ledger.open()
    await ledger.close()
    await ledger.close()
    with pytest.raises(LedgerError, match="is closed"):
        await ledger.record([full])


async def test_a_reader_sees_what_the_open_writer_committed_and_may_not_write(tmp_path, ledger, full):
    await ledger.record([full])
    reader = SqlLedger(ledger.name, read_only=True)
    await reader.open()
    assert (await reader.stats(None, None, ()))["totals"]["queries"] == 1
    with pytest.raises(LedgerError, match="reading only"):
        await reader.record([full])
    await reader.close()


def test_errors_and_accounts_cross_a_process_boundary(full):
    assert pickle.loads(pickle.dumps(full)) == full
    assert str(pickle.loads(pickle.dumps(LedgerError("x")))) == "x"
