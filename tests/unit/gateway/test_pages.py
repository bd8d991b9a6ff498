"""Models, accounts, health, metrics, the description of the API."""

import asyncio

import pytest

from serve_app.core import EngineError
from serve_app.gateway import health
from serve_app.ledger import SqlLedger
from tests.unit.gateway.described import valid


async def test_models_are_listed_with_their_kind(world):
    models = [model async for model in await world.openai().models.list()]
    kinds = {model.id: model.headrace["kind"] for model in models}
    assert kinds == {
        "auto": "graph",
        "router": "graph",
        "cascade": "graph",
        "base": "base",
        "large": "large",
        "legal": "adapter",
    }
    assert {model.owned_by for model in models} == {"headrace"}


async def test_one_model_is_found_by_name(world):
    assert (await world.openai().models.retrieve("large")).headrace == {"kind": "large", "model": "large-model"}
    response = await world.http.get("/v1/models/nope")
    assert (response.status_code, response.json()["error"]["code"]) == (404, "model_not_found")


async def test_an_answer_just_given_is_found_in_the_ledger_by_either_id(world):
    body = (await world.chat("a contract")).json()
    for name in (body["headrace"]["query_id"], body["id"]):
        account = (await world.http.get(f"/v1/ledger/queries/{name}")).json()
        assert account["query_id"] == body["headrace"]["query_id"]
        assert account["attempts"] == body["headrace"]["attempts"]
        assert account["route"] == "legal"


async def test_the_sql_ledger_answers_behind_the_gateway(make_world, tmp_path):
    world = make_world()
    ledger = SqlLedger(f"sqlite:///{tmp_path}/ledger.sqlite3")
    await ledger.open()
    world.services.ledger = world.recorder._ledger = ledger
    body = (await world.chat("hard")).json()
    stats = (await world.http.get("/v1/ledger/stats", params={"since": "1h", "group_by": "route,outcome"})).json()
    account = (await world.http.get(f"/v1/ledger/queries/{body['id']}")).json()
    await ledger.close()
    valid(stats, {"$ref": "#/components/schemas/LedgerStats"})
    assert stats["totals"]["queries"] == 1
    assert stats["totals"]["attempts"] == 3
    assert stats["totals"]["cost_usd"] == pytest.approx(body["headrace"]["cost_usd"])
    assert account["cost_usd"] == body["headrace"]["cost_usd"]


async def test_an_unknown_query_is_not_found(world):
    response = await world.http.get("/v1/ledger/queries/q1")
    assert (response.status_code, response.json()["error"]["code"]) == (404, "query_not_found")


async def test_stats_pass_on_times_and_groups(world):
    params = {"since": "2026-01-01", "until": "2026-01-02", "group_by": "route, key"}
    body = (await world.http.get("/v1/ledger/stats", params=params)).json()
    assert (body["since"], body["until"]) == (1767225600, 1767312000)
    assert body["group_by"] == ["route", "key"]


@pytest.mark.parametrize(
    ("params", "param"),
    [({"since": "yesterday"}, "since"), ({"until": "x"}, "until"), ({"since": "1h", "until": "2h"}, "until")],
)
async def test_a_bad_time_is_named(world, params, param):
    response = await world.http.get("/v1/ledger/stats", params=params)
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)


async def test_a_ledger_that_cannot_write_is_503_and_says_why(world):
    world.ledger.broken = True
    await world.chat()
    response = await world.http.get("/v1/ledger/stats")
    assert response.status_code == 503
    assert "disk is full" in response.json()["error"]["message"]


async def test_ready_is_200_only_when_every_node_answers(world):
    assert (await world.http.get("/readyz")).status_code == 200
    world.nodes["fallback"] = "still loading its model"
    response = await world.http.get("/readyz")
    assert response.status_code == 503
    body = response.json()
    assert (body["status"], body["nodes"]) == (
        "not ready",
        {"specialists": "ok", "fallback": "still loading its model"},
    )
    assert (await world.http.get("/healthz")).status_code == 200


async def test_a_fallback_that_is_stopped_on_purpose_does_not_make_the_service_unready(world):
    world.nodes["fallback"] = "cold"
    response = await world.http.get("/readyz")
    assert (response.status_code, response.json()["status"], response.json()["nodes"]["fallback"]) == (
        200,
        "ready",
        "cold",
    )


async def test_a_probe_that_fails_or_hangs_is_not_ready(world, monkeypatch):
    async def failing():
        raise EngineError("no replica is up")

    async def hanging():
        await asyncio.sleep(5)

    monkeypatch.setattr(health, "_PROBE_TIMEOUT_S", 0.01)
    for probe, reason in ((failing, "no replica is up"), (hanging, "did not all answer")):
        world.services.probe = probe
        response = await world.http.get("/readyz")
        assert response.status_code == 503
        assert reason in response.json()["nodes"]["probe"]


async def test_metrics_count_queries_tokens_money_and_errors(world):
    await world.chat("hard")
    await world.chat("a contract")
    await world.chat(model="nope")
    page = (await world.http.get("/metrics")).text
    for line in (
        'headrace_queries_total{model="auto",outcome="accepted",route="general"} 1.0',
        'headrace_queries_total{model="auto",outcome="accepted",route="legal"} 1.0',
        'headrace_escalations_total{route="general"} 1.0',
        'headrace_attempts_total{node="fallback",outcome="accepted"} 1.0',
        'headrace_tokens_total{kind="completion",node="fallback"} 5.0',
        'headrace_error_answers_total{status="404"} 1.0',
        "headrace_queries_in_flight 0.0",
        'headrace_first_token_seconds_count{model="auto"} 2.0',
        'headrace_query_seconds_count{model="auto"} 2.0',
    ):
        assert line in page, line


async def test_two_gateways_in_one_process_count_apart(make_world):
    first, second = make_world(), make_world()
    await first.chat()
    assert 'headrace_queries_total{model="auto"' not in (await second.http.get("/metrics")).text


async def test_the_description_of_the_api_holds_the_bodies_and_resolves(world):
    page = (await world.http.get("/openapi.json")).json()
    schemas = page["components"]["schemas"]
    assert {"ChatBody", "ChatMessage", "TextBody", "StreamOptions"} <= set(schemas)
    refs = {part.split('"')[0] for part in str(page).replace("'", '"').split("#/components/schemas/")[1:]}
    assert refs <= set(schemas)
