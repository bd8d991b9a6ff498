"""Keys: compared in full, accounted by name."""

import openai
import pytest

KEYS = {"gateway": {"api_keys": {"team-a": "key-of-team-a", "team-b": "schlüssel-b"}}}
TURN = {"role": "user", "content": "easy"}


@pytest.fixture
def keyed(make_world):
    return make_world(overrides=KEYS)


async def test_a_query_is_accounted_under_the_name_of_its_key(keyed):
    await keyed.openai("key-of-team-a").chat.completions.create(model="auto", messages=[TURN])
    assert [account.key_id for account in await keyed.accounts()] == ["team-a"]


async def test_two_gateways_of_one_process_know_nothing_of_each_other(make_world):
    """They share their pages."""
    worlds = [make_world(overrides={"gateway": {"api_keys": {name: f"key-of-{name}"}}}) for name in ("ann", "bob")]
    for number in (0, 1, 0):
        for name, world in zip(("ann", "bob"), worlds, strict=True):
            key = f"key-of-{('ann', 'bob')[number]}"
            answer = await world.http.get("/v1/status", headers={"authorization": f"Bearer {key}"})
            assert answer.status_code == (200 if key.endswith(name) else 401)
            if answer.status_code == 200:
                assert answer.json()["gateway"] == world.services.gateway_id


async def test_a_wrong_key_is_an_authentication_error(keyed):
    with pytest.raises(openai.AuthenticationError) as caught:
        await keyed.openai("key-of-team-x").chat.completions.create(model="auto", messages=[TURN])
    assert caught.value.code == "invalid_api_key"
    assert "key-of-team-x" not in str(caught.value)
    assert not await keyed.accounts()


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Basic key-of-team-a", "key-of-team-a", "Bearer key-of-team-a2"]
)
async def test_anything_but_a_bearer_key_is_401(keyed, header):
    headers = {} if header is None else {"authorization": header}
    response = await keyed.http.get("/v1/models", headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.json()["error"]["code"] == "invalid_api_key"


async def test_a_key_outside_ascii_is_accepted_as_utf8(keyed):
    headers = {b"authorization": "Bearer schlüssel-b".encode()}
    assert (await keyed.http.get("/v1/models", headers=headers)).status_code == 200


async def test_the_key_is_checked_before_the_body_is_read(keyed):
    response = await keyed.http.post("/v1/chat/completions", content=b"{")
    assert response.status_code == 401


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/auto", "/v1/ledger/stats", "/v1/ledger/queries/q1"])
async def test_every_page_under_v1_needs_a_key(keyed, path):
    assert (await keyed.http.get(path)).status_code == 401


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/openapi.json"])
async def test_pages_for_machines_need_none(keyed, path):
    assert (await keyed.http.get(path)).status_code == 200


async def test_without_configured_keys_any_request_passes_without_a_name(world):
    await world.openai("anything").chat.completions.create(model="auto", messages=[TURN])
    assert [account.key_id for account in await world.accounts()] == [None]
