"""Budgets, the response cache, repeated requests, the flex tier and kept texts, behind a whole gateway."""

import json

import pytest

from serve_app.config.budgets import BudgetsSettings
from serve_app.core import EngineError, EngineInfo, JournalFull, Message, Query, SamplingParams, Usage
from serve_app.gateway import Tunables
from serve_app.keys import Key, KeyRecord, KeySnapshot, digest_of

DAY = {"per": "day"}


def with_keys(world, *keys):
    """Each key's secret is `hr-` and its name."""
    records = tuple(KeyRecord(key, digest_of(f"hr-{key.key_id}".encode()), 0.0) for key in keys)
    world.ledger.snapshot = KeySnapshot(records)
    return world


def bearer(name):
    return {"authorization": f"Bearer hr-{name}"}


async def test_a_query_that_no_budget_is_left_for_gets_429_and_no_account(make_world):
    world = make_world(overrides={"budgets": {"total": [{**DAY, "usd": "0.000001"}]}})
    response = await world.chat("easy")
    assert response.status_code == 429
    assert response.json()["error"]["code"] == "budget_exceeded"
    assert int(response.headers["retry-after"]) > 0
    assert await world.accounts() == []


async def test_an_escalation_that_no_budget_is_left_for_keeps_the_small_answer(make_world):
    # The small model's worst case is 0.000543 USD or so, the large one's ten times that.
    world = make_world(overrides={"budgets": {"total": [{**DAY, "usd": "0.002"}]}})
    body = (await world.chat("hard", max_tokens=100)).json()
    account = body["headrace"]
    assert (account["escalated"], account["model"]) == (False, "small-model")
    assert account["reason"].endswith("no budget to escalate")
    assert body["choices"][0]["message"]["content"] == "I am not sure about that"


async def test_with_refuse_an_escalation_without_budget_is_429(make_world):
    overrides = {"budgets": {"total": [{**DAY, "usd": "0.002"}], "over": "refuse"}}
    world = make_world(overrides=overrides)
    response = await world.chat("hard", max_tokens=100)
    assert (response.status_code, response.json()["error"]["code"]) == (429, "budget_exceeded")
    [account] = await world.accounts()
    assert account.cost_nusd > 0


async def test_every_reservation_is_settled_however_the_query_ends(make_world):
    world = make_world(overrides={"budgets": {"total": [{**DAY, "tokens": 10_000}]}})
    for text in ("easy", "hard"):
        assert (await world.chat(text)).status_code == 200
    assert (await world.chat("x", model="nobody")).status_code == 404
    [use] = world.services.budgets.report()
    accounts = await world.accounts()
    spent = sum(
        attempt.usage.prompt_tokens + attempt.usage.completion_tokens
        for account in accounts
        for attempt in account.attempts
    )
    assert use.used.tokens == spent > 0


async def test_a_budget_that_is_nearly_used_up_is_told_in_a_header(make_world):
    world = make_world(overrides={"budgets": {"total": [{**DAY, "tokens": 1000}], "warn_at": 0.001}})
    for stream in (False, True):
        response = await world.chat("easy", stream=stream)
        assert "day budget" in response.headers["x-headrace-budget-warning"]


async def test_a_key_may_ask_for_its_models_only_and_sees_no_others(make_world):
    world = with_keys(make_world(), Key("ada", models=("base",)))
    assert (await world.chat("easy", model="base", headers=bearer("ada"))).status_code == 200
    response = await world.chat("easy", model="large", headers=bearer("ada"))
    assert (response.status_code, response.json()["error"]["code"]) == (403, "model_not_permitted")
    models = (await world.http.get("/v1/models", headers=bearer("ada"))).json()["data"]
    assert [model["id"] for model in models] == ["base"]
    assert (await world.http.get("/v1/models/large", headers=bearer("ada"))).status_code == 403
    assert (await world.chat("easy")).status_code == 401


@pytest.mark.parametrize("stream", [False, True])
async def test_an_equal_greedy_query_gets_the_answer_from_the_cache_for_nothing(make_world, stream, events):
    world = make_world(overrides={"cache": {"enabled": True}})
    first = (await world.chat("hard")).json()
    again = await world.chat(" hard ", stream=stream)
    if stream:
        chunks = [chunk for chunk in events(again) if isinstance(chunk, dict)]
        text = "".join(choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"])
        account = chunks[-1]["headrace"]
    else:
        text, account = again.json()["choices"][0]["message"]["content"], again.json()["headrace"]
    assert text == first["choices"][0]["message"]["content"]
    assert (account["outcome"], account["cache"], account["cost_usd"]) == ("accepted", "exact", 0)
    assert [attempt["node"] for attempt in account["attempts"]] == ["cache"]
    assert account["always_large_usd"] == first["headrace"]["always_large_usd"]
    assert account["route"] == first["headrace"]["route"]
    assert len(world.small.calls) == len(world.large.calls) == 1
    recorded = (await world.accounts())[-1]
    assert recorded.saved_by_cache_nusd == (await world.accounts())[0].cost_nusd > 0


async def test_sampled_queries_and_other_keys_get_nothing_from_the_cache(make_world):
    world = with_keys(make_world(overrides={"cache": {"enabled": True}}), Key("ada"), Key("bob"))
    for headers, extra in ((bearer("ada"), {}), (bearer("bob"), {}), (bearer("ada"), {"temperature": 0.7})):
        body = (await world.chat("easy", headers=headers, **extra)).json()
        assert body["headrace"]["cache"] is None
    assert (await world.chat("easy", headers=bearer("bob"))).json()["headrace"]["cache"] == "exact"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_sent_again_with_its_idempotency_key_gets_the_same_bytes_and_one_bill(make_world, stream):
    world = make_world()
    headers = {"idempotency-key": "order-17"}
    first = await world.chat("easy", stream=stream, headers=headers)
    again = await world.chat("easy", stream=stream, headers=headers)
    assert again.content == first.content
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert len(await world.accounts()) == 1
    other = await world.chat("hard", stream=stream, headers=headers)
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_key_reused")
    assert "headrace_replayed_requests_total 1.0" in (await world.http.get("/metrics")).text


async def test_a_failed_request_leaves_its_idempotency_key_free(make_world):
    world = make_world()
    headers = {"idempotency-key": "order-18"}
    assert (await world.chat("easy", model="nobody", headers=headers)).status_code == 404
    assert (await world.chat("easy", headers=headers)).status_code == 200


async def test_the_flex_tier_waits_behind_the_others_and_costs_half(make_world):
    world = make_world()
    plain = (await world.chat("easy", model="base")).json()["headrace"]
    answer = (await world.chat("easy", model="base", service_tier="flex")).json()
    flex = answer["headrace"]
    assert answer["service_tier"] == "flex"
    assert [call.priority for call in world.small.calls] == [0, -1]
    assert flex["cost_usd"] == pytest.approx(plain["cost_usd"] / 2)
    recorded = (await world.accounts())[-1]
    assert (recorded.tier, recorded.saved_by_tier_nusd) == ("flex", recorded.cost_nusd)


async def test_texts_are_kept_only_where_that_is_switched_on(make_world):
    world = make_world()
    await world.chat("easy")
    await world.services.capture.close()
    assert world.ledger.texts == []
    world = make_world(overrides={"ledger": {"texts": {"store": True, "redact": "string:capwords"}}})
    await world.chat("hard")
    await world.services.capture.close()
    [stored] = world.ledger.texts
    assert json.loads(stored.prompt) == [{"role": "user", "content": "Hard"}]
    assert (stored.answer, stored.model, stored.escalated) == ("The Large Model Says This", "large-model", True)


async def test_a_stored_texts_query_is_not_billed_for_being_kept(make_world):
    world = make_world(overrides={"ledger": {"texts": {"store": True}}})
    body = (await world.chat("easy")).json()
    [account] = await world.accounts()
    answered = [attempt.usage for attempt in account.attempts if attempt.role == "answer"]
    assert body["usage"]["completion_tokens"] == sum(usage.completion_tokens for usage in answered)
    assert Usage() not in answered


async def test_headers_beyond_the_bound_are_refused_with_431(make_world):
    world = make_world(overrides={"gateway": {"max_header_bytes": 2048}})
    response = await world.chat("easy", headers={"x-long": "a" * 3000})
    assert (response.status_code, response.json()["error"]["code"]) == (431, "headers_too_large")


async def test_an_answer_that_stayed_small_for_want_of_budget_is_not_given_again(make_world):
    world = make_world(overrides={"cache": {"enabled": True}, "budgets": {"total": [{**DAY, "usd": "0.002"}]}})
    first = (await world.chat("hard", max_tokens=100)).json()["headrace"]
    world.services.budgets.reconfigure(BudgetsSettings())
    later = (await world.chat("hard", max_tokens=100)).json()["headrace"]
    assert (first["model"], later["model"], later["cache"]) == ("small-model", "large-model", None)


async def test_what_another_adapter_version_answered_meanwhile_is_not_found_when_the_old_one_is_back(make_world):
    world = make_world(overrides={"cache": {"enabled": True}})
    world.services.engines = {"specialists": world.small}
    await world.services.learn()
    world.small.adapters["legal"] = "v2"
    assert (await world.chat("a contract")).json()["headrace"]["adapter_version"] == "v2"
    world.small.adapters["legal"] = "v1"
    await world.services.learn()
    again = (await world.chat("a contract")).json()["headrace"]
    assert (again["cache"], again["adapter_version"]) == (None, "v1")


async def test_an_adapter_that_samples_is_known_to_while_its_engine_does_not_answer(make_world):
    world = make_world(overrides={"cache": {"enabled": True}})

    class Engine:
        error = None

        async def info(self):
            if self.error:
                raise self.error
            return EngineInfo("small-model", 2048, {"legal": "v1"}, warm_adapters=("legal",))

    engine = Engine()
    world.services.engines = {"specialists": engine}
    await world.services.learn()
    for engine.error in (EngineError("busy"), TimeoutError()):
        await world.services.learn()
        assert world.services.cache.warm_adapters == {"legal"}
    for _ in range(2):
        assert (await world.chat("a contract")).json()["headrace"]["cache"] is None


async def test_a_cascade_that_is_set_anew_gives_no_answer_of_the_one_before(make_world):
    world = make_world(overrides={"cache": {"enabled": True}})
    same = Tunables(cascade=world.services.settings.cascade)
    world.services.reconfigure(same)
    await world.chat("easy")
    world.services.reconfigure(same)  # a policy file may hold another policy under the same name
    assert (await world.chat("easy")).json()["headrace"]["cache"] is None
    assert (await world.chat("easy")).json()["headrace"]["cache"] == "exact"


async def test_a_repeated_answer_that_cannot_be_written_down_has_failed(make_world, monkeypatch):
    world = make_world(overrides={"cache": {"enabled": True}})
    await world.chat("easy")

    async def full():
        raise JournalFull("The disk is full.")

    monkeypatch.setattr(world.recorder, "synced", full)
    assert (await world.chat("easy")).status_code == 503
    assert [account.outcome for account in await world.accounts()] == ["accepted", "failed"]


@pytest.mark.parametrize(("model", "answer_tokens"), [("legal", 900), ("auto", 900), ("base", 50)])
async def test_what_an_adapter_may_say_by_its_own_bound_is_set_aside(make_world, monkeypatch, model, answer_tokens):
    specialists = {"model": "small-model", "max_tokens": 50}
    world = make_world(
        overrides={"specialists": specialists, "budgets": {"total": [{**DAY, "tokens": 10_000}]}},
    )

    class Engine:
        async def info(self):
            return EngineInfo("small-model", 2048, {"legal": "v1"}, longest_answers={"legal": 900, "brief": 5})

    world.services.engines = {"specialists": Engine()}
    await world.services.learn()
    asked, reserve = [], world.services.budgets.reserve

    async def noting(query_id, spender, nusd, tokens):
        asked.append(tokens - Query("q", model, SamplingParams(), (Message("user", "easy"),)).estimated_tokens)
        await reserve(query_id, spender, nusd, tokens)

    monkeypatch.setattr(world.services.budgets, "reserve", noting)
    await world.chat("easy", model=model)
    await world.chat("easy", model=model, max_tokens=7)
    assert asked == [answer_tokens, 7]
