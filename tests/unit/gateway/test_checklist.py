"""GET /v1/checklist: the list of this server, for admins."""

import pytest

from serve_app.ledger import SqlLedger


async def test_the_checklist_looks_at_this_server(make_world, tmp_path):
    world = make_world()
    ledger = SqlLedger(f"sqlite:///{tmp_path}/ledger.sqlite3")
    await ledger.open()
    world.services.ledger = world.recorder._ledger = ledger
    body = (await world.http.get("/v1/checklist", params={"profile": "demo"})).json()
    items = {item["id"]: item for item in body["items"]}
    assert sum(body["counts"].values()) == len(items) >= 30
    assert not [item for item in items.values() if "The check itself broke" in item["evidence"]]
    assert "No server was asked" not in items["serving.ready"]["evidence"]
    assert items["security.keys"]["status"] == "warn"
    assert (await world.http.get("/v1/checklist")).json()["profile"] == "production"
    await ledger.close()


async def test_a_profile_that_there_is_not_is_named(world):
    response = await world.http.get("/v1/checklist", params={"profile": "staging"})
    assert response.status_code == 400
    assert "profile" in response.json()["error"]["message"]


@pytest.mark.parametrize(("key", "status"), [("user-key-of-ada", 403), ("admin-key-of-eve", 200), (None, 401)])
async def test_it_is_for_admin_keys(make_world, key, status):
    world = make_world(
        overrides={"gateway": {"api_keys": {"ada": "user-key-of-ada"}, "admin_keys": {"eve": "admin-key-of-eve"}}}
    )
    headers = {"authorization": f"Bearer {key}"} if key else {}
    response = await world.http.get("/v1/checklist", headers=headers)
    assert response.status_code == status
    if status == 200:
        items = {item["id"]: item["status"] for item in response.json()["items"]}
        assert items["security.keys"] == items["security.admin"] == "pass"
        assert "key-of" not in response.text
