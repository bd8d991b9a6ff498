"""Service tiers behind a whole gateway: who may ask for them, what they cost, who is refused when it is full."""

from contextlib import ExitStack

import pytest

from serve_app.engines.fake import FakeEngine
from serve_app.keys import Key, KeyRecord, KeySnapshot, digest_of
from tests.unit.gateway.conftest import SETTINGS

DEARER = {"prices": {**SETTINGS["prices"], "priority_factor": "2.5"}}


def bearer(name):
    return {"authorization": f"Bearer hr-{name}"}


@pytest.fixture
def keyed(make_world):
    """A gateway with a key of each kind; each secret is `hr-` and the name."""
    world = make_world(overrides={"gateway": {"admission": {"priority_keys": ["named"]}}})
    keys = (Key("plain"), Key("named"), Key("made", priority=True), Key("root", role="admin"))
    world.ledger.snapshot = KeySnapshot(
        tuple(KeyRecord(key, digest_of(f"hr-{key.key_id}".encode()), 0.0) for key in keys)
    )
    return world


@pytest.mark.parametrize(("name", "status"), [("plain", 403), ("named", 200), ("made", 200), ("root", 200)])
async def test_priority_needs_the_right_to_it(keyed, name, status):
    response = await keyed.chat(service_tier="priority", headers=bearer(name))
    assert response.status_code == status
    if status == 403:
        error = response.json()["error"]
        assert (error["code"], error["param"]) == ("tier_not_permitted", "service_tier")
        assert await keyed.accounts() == []


async def test_a_key_without_the_right_has_the_other_tiers(keyed):
    for tier in ("auto", "default", "flex"):
        assert (await keyed.chat(service_tier=tier, headers=bearer("plain"))).status_code == 200


async def test_priority_goes_first_and_costs_what_the_prices_say(make_world):
    world = make_world(overrides=DEARER)
    plain = (await world.chat("easy", model="base")).json()["headrace"]
    answer = (await world.chat("easy", model="base", service_tier="priority")).json()
    assert answer["service_tier"] == "priority"
    assert [call.priority for call in world.small.calls] == [0, 1]
    assert answer["headrace"]["cost_usd"] == pytest.approx(2.5 * plain["cost_usd"])
    recorded = (await world.accounts())[-1]
    assert recorded.tier == "priority"
    assert recorded.saved_by_tier_nusd == pytest.approx(-1.5 * plain["cost_usd"] * 1e9)


async def test_the_openai_client_may_ask_for_priority(make_world):
    answer = (
        await make_world()
        .openai()
        .chat.completions.create(model="auto", messages=[{"role": "user", "content": "easy"}], service_tier="priority")
    )
    assert answer.service_tier == "priority"


async def test_a_full_gateway_refuses_the_lower_tiers_first(make_world):
    world = make_world(overrides={"gateway": {"max_in_flight": 10}})
    with ExitStack() as held:
        for _ in range(9):
            held.enter_context(world.services.in_flight.enter("priority"))
        refused = [await world.chat(service_tier=tier) for tier in ("flex", "default")]
        assert [response.status_code for response in refused] == [429, 429]
        assert all(int(response.headers["retry-after"]) >= 1 for response in refused)
        assert (await world.chat(service_tier="priority")).status_code == 200
    page = (await world.http.get("/metrics")).text
    assert 'headrace_refused_queries_total{tier="flex"} 1.0' in page
    assert "headrace_places 10.0" in page
    status = (await world.http.get("/v1/status")).json()
    assert (status["places"], status["refused"]) == (10, {"default": 1, "flex": 1, "priority": 0})


async def test_first_texts_are_timed_and_answers_of_the_cache_are_not(make_world):
    admission = {"target_first_token_s": 5.0}
    world = make_world(overrides={"gateway": {"admission": admission}, "cache": {"enabled": True}})
    cohort = world.services.in_flight._limit._cohort
    for stream in (False, True, False):
        await world.chat("easy", model="base", stream=stream, temperature=0)
    assert (cohort.num_members, cohort.num_in_time) == (1, 1)


async def test_an_engine_that_is_full_counts_as_late(make_world):
    overrides = {"gateway": {"admission": {"target_first_token_s": 5.0}}}
    world = make_world(small=FakeEngine(max_calls=0), overrides=overrides)
    assert (await world.chat(model="base")).status_code == 429
    assert world.services.in_flight._limit._cohort.num_late == 1
