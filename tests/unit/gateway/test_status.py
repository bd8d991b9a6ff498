"""GET /v1/status, and what a user key may see of it and of the ledger."""

import asyncio
import re

import pytest

from serve_app.core import EngineError, LedgerError
from serve_app.gateway import accounts
from serve_app.keys import Key, KeyRecord, KeySnapshot, digest_of


def bearer(name):
    return {"authorization": f"Bearer hr-{name}"}


@pytest.fixture
def locked(make_world):
    """A gateway with an admin key and two user keys, one of them for few models."""
    world = make_world(
        overrides={
            "budgets": {"total": [{"per": "day", "usd": "10"}], "each_key": [{"per": "day", "tokens": 1000}]},
            "cache": {"enabled": True},
        }
    )
    keys = (Key("ops", "admin"), Key("ada"), Key("bob", models=("auto", "base")))
    records = tuple(KeyRecord(key, digest_of(f"hr-{key.key_id}".encode()), 0.0) for key in keys)
    world.ledger.snapshot = KeySnapshot(records)
    return world


async def status(world, name=None):
    response = await world.http.get("/v1/status", headers=bearer(name) if name else {})
    assert response.status_code == 200
    return response.json()


async def ask(world, name, text="easy"):
    body = {"model": "auto", "messages": [{"role": "user", "content": text}]}
    response = await world.http.post("/v1/chat/completions", json=body, headers=bearer(name))
    return response.json()["headrace"]["query_id"]


async def test_an_open_server_tells_everything(world):
    found = await status(world)
    assert found["viewer"] == {"role": "open", "key_id": None}
    assert found["models"] == {"specialists": "small-model", "fallback": "large-model"}
    assert found["cascade"]["mode"] == "cascade"
    assert found["routes"] == [
        {"route": "legal", "adapter": "legal", "adapter_is_served": True, "state": "no_target", "audit": None}
    ]
    assert found["prices"] == {"version": "test-1"}
    assert found["ledger"]["state"] == "ok"
    assert found["cache"] is None
    assert found["budgets"] == []


async def test_engines_tell_adapters_and_versions(world):
    world.services.engines = {"specialists": world.small, "fallback": world.large}
    found = await status(world)
    assert [(one["name"], one["version"]) for one in found["adapters"]] == [("legal", "v1")]
    assert {one["node"] for one in found["engines"]} == {"specialists", "fallback"}


async def test_an_engine_that_does_not_answer_is_said_so(world):
    class Dead:
        async def info(self):
            raise EngineError("The replica is gone.")

    world.services.engines = {"specialists": Dead()}
    found = await status(world)
    assert found["engines"] == [{"node": "specialists", "error": "The replica is gone."}]
    assert found["adapters"] == [{"name": "legal", "version": None, "is_resident": None}]


@pytest.mark.parametrize(
    ("cascade", "mode"), [({"enabled": False}, "off"), ({"watch": {"mirror_share": 0.1}}, "mirror")]
)
async def test_what_stands_behind_auto_is_named(make_world, cascade, mode):
    assert (await status(make_world(overrides={"cascade": cascade})))["cascade"]["mode"] == mode


async def test_a_user_key_is_told_of_its_own_budgets_and_of_no_errors(locked):
    await ask(locked, "ada")
    await ask(locked, "bob")
    locked.services.recorder.last_error = EngineError("a text for whoever administers")
    mine, all_of_them = await status(locked, "ada"), await status(locked, "ops")
    assert [(one["who"], one["unit"]) for one in mine["budgets"]] == [("key ada", "tokens")]
    assert {one["who"] for one in all_of_them["budgets"]} >= {"all queries", "key ada", "key bob"}
    assert all(0 <= one["used_share"] <= 1 for one in all_of_them["budgets"])
    assert mine["ledger"]["last_error"] is None
    assert all_of_them["ledger"]["last_error"] is not None
    assert mine["cache"]["max_bytes"] > 0


async def test_a_key_sees_only_the_adapters_it_may_ask_for(locked):
    assert (await status(locked, "bob"))["adapters"] == []
    assert [one["name"] for one in (await status(locked, "ada"))["adapters"]] == ["legal"]


async def test_a_status_needs_a_key_where_there_are_keys(locked):
    assert (await locked.http.get("/v1/status")).status_code == 401


async def test_another_key_s_query_does_not_exist_for_a_user(locked):
    query_id = await ask(locked, "ada")
    for name, code in (("ada", 200), ("ops", 200), ("bob", 404)):
        assert (await locked.http.get(f"/v1/ledger/queries/{query_id}", headers=bearer(name))).status_code == code
    before = await locked.http.get(f"/v1/ledger/queries?before={query_id}", headers=bearer("bob"))
    assert (before.status_code, before.json()["error"]["param"]) == (404, "before")


@pytest.mark.parametrize("page", ["stats", "queries", "queries/q1"])
async def test_why_the_ledger_cannot_be_read_is_told_to_admin_keys_only(locked, page):
    await ask(locked, "ada")
    locked.ledger.broken = True
    mine = await locked.http.get(f"/v1/ledger/{page}", headers=bearer("ada"))
    theirs = await locked.http.get(f"/v1/ledger/{page}", headers=bearer("ops"))
    assert mine.status_code == theirs.status_code == 503
    assert "disk" in theirs.json()["error"]["message"]
    assert mine.json()["error"]["message"] == "The ledger cannot be read now; try again later."


@pytest.mark.parametrize("page", ["stats", "queries"])
async def test_a_ledger_that_hangs_is_said_to_be_away(locked, page, monkeypatch):
    async def hanging(*_):
        await asyncio.Event().wait()

    monkeypatch.setattr(accounts, "_TIMEOUT_S", 0.01)
    monkeypatch.setattr(locked.ledger, "recent", hanging)
    monkeypatch.setattr(locked.ledger, "stats", hanging)
    for name in ("ada", "ops"):
        response = await locked.http.get(f"/v1/ledger/{page}", headers=bearer(name))
        assert response.status_code == 503
        assert "did not answer within" in response.json()["error"]["message"]


async def test_no_page_without_a_key_names_a_key_or_says_why_something_is_away(locked):
    await ask(locked, "ada")
    locked.ledger.broken, locked.nodes["fallback"] = True, "cannot reach db.internal"
    locked.services.recorder.last_error = LedgerError("postgresql://db.internal cannot be used.")
    for name, knows in ((None, False), ("ada", False), ("eve", False), ("ops", True)):
        page = await locked.http.get("/readyz", headers=bearer(name) if name else {})
        assert (page.status_code, "internal" in page.text) == (503, knows)
        assert page.json()["nodes"] == {"specialists": "ok", "fallback": page.json()["nodes"]["fallback"]}
    figures = (await locked.http.get("/metrics")).text
    assert 'budget="key/day"' in figures
    assert not re.search(r"\bada\b", figures)


@pytest.mark.parametrize("limit", ["0", "201", "x"])
async def test_a_page_has_bounds(world, limit):
    response = await world.http.get(f"/v1/ledger/queries?limit={limit}")
    assert (response.status_code, response.json()["error"]["param"]) == (400, "limit")
