"""/v1/adapters: versions come, change and go; whatever breaks off leaves the registry consistent."""

import asyncio
import shutil
import threading
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio

from serve_app.adapters.registry import AdapterRegistry
from serve_app.core import AdapterError, EngineError
from serve_app.gateway import AdapterBook
from serve_app.gateway.adapters.publish import Publisher
from serve_app.store import Store
from tests.unit.registry_node import FakeArtefacts, FakeTrial, RegistryNode, write_adapter

MAX_BYTES = 2**20


class Admin:
    """A gateway with a registry; `folder(seed)` is an adapter to add."""

    def __init__(self, world, node, artefacts, trial, tmp_path):
        self.world, self.node, self.artefacts, self.trial, self._tmp_path = world, node, artefacts, trial, tmp_path

    def folder(self, seed=0, **config):
        path = self._tmp_path / f"adapter-{seed}-{len(config)}"
        return path if path.exists() else write_adapter(path, seed, **config)

    async def add(self, seed=0, name="finance", **fields):
        return await self.world.http.post(
            "/v1/adapters", json={"name": name, "source": str(self.folder(seed)), **fields}
        )

    async def patch(self, body, name="finance"):
        return await self.world.http.patch(f"/v1/adapters/{name}", json=body)

    async def states(self, name="finance"):
        return [one.state for one in await self.node.adapters_all(name)]


@asynccontextmanager
async def opened(make_world, tmp_path, **overrides):
    store = Store(f"sqlite:///{tmp_path}/ledger.db")
    await store.open()
    node, artefacts, trial = RegistryNode(AdapterRegistry(store)), FakeArtefacts(), FakeTrial()
    world = make_world(book=AdapterBook(("legal",), node), overrides=overrides)
    world.services.registry = node
    world.services.publisher = Publisher(node, artefacts, trial, MAX_BYTES, max_rank=64)
    yield Admin(world, node, artefacts, trial, tmp_path)
    await world.services.publisher.close()
    await store.close()


@pytest_asyncio.fixture
async def admin(make_world, tmp_path):
    async with opened(make_world, tmp_path) as found:
        yield found


def error_of(response):
    return response.json()["error"]


async def test_a_new_adapter_is_checked_tried_and_live(admin):
    answer = await admin.add(live=True, pin=True)
    assert answer.status_code == 201, answer.text
    version = answer.json()
    assert (version["state"], version["created_by"], version["base_verified"]) == ("live", "open", True)
    assert version["adapter"]["live"] == version["version"]
    assert version["adapter"]["pinned"] is True
    assert version["report"]["trial"]["text"] == "fine"
    assert admin.artefacts.held == {version["digest"]}
    assert "finance" in [one["id"] for one in (await admin.world.http.get("/v1/models")).json()["data"]]


async def test_the_files_of_a_publication_are_deleted_in_a_thread(admin, monkeypatch):
    deleted, rmtree = [], shutil.rmtree

    def noted(path, **options):
        deleted.append(threading.current_thread())
        rmtree(path, **options)

    monkeypatch.setattr(shutil, "rmtree", noted)
    assert (await admin.add()).status_code == 201
    assert deleted
    assert threading.main_thread() not in deleted


async def test_without_a_stage_it_waits_and_nobody_may_ask_for_it(admin):
    assert (await admin.add()).json()["state"] == "staged"
    assert (await admin.world.chat("hi", model="finance")).status_code == 404


async def test_the_same_files_again_change_nothing(admin):
    await admin.add(live=True)
    revision = (await admin.world.http.get("/v1/adapters")).json()["revision"]
    again = await admin.add(live=True)
    assert (again.status_code, again.json()["state"]) == (201, "live")
    assert (await admin.world.http.get("/v1/adapters")).json()["revision"] == revision
    assert len(admin.trial.tried) == 1


async def test_canary_promote_rollback_and_remove(admin):
    first = (await admin.add(0, live=True)).json()["version"]
    second = (await admin.add(1, canary=0.1)).json()
    assert (second["state"], second["adapter"]["canary_weight"]) == ("canary", 0.1)
    assert (await admin.patch({"canary": 0.5})).json()["canary_weight"] == 0.5
    promoted = (await admin.patch({"promote": True})).json()
    assert (promoted["live"], promoted["canary"]) == (second["version"], None)
    assert (await admin.patch({"rollback": True})).json()["live"] == first
    assert (await admin.patch({"promote": second["version"]})).json()["live"] == second["version"]
    removed = await admin.world.http.delete("/v1/adapters/finance")
    assert (removed.json()["deleted"], removed.json()["live"]) == (True, None)
    assert await admin.states() == ["retired", "retired"]
    assert (await admin.add(0, live=True)).json()["state"] == "live"
    lines = (await admin.world.http.get("/v1/adapters/audit?name=finance")).json()["data"]
    assert [line["action"] for line in reversed(lines)] == [
        *("add", "stage", "promote"),
        *("add", "stage", "canary"),
        *("canary", "promote", "rollback", "promote", "remove"),
        *("add", "stage", "promote"),
    ]
    assert {line["actor"] for line in lines} == {"open"}


async def test_a_rollback_that_is_sent_again_takes_back_no_more(admin):
    first = (await admin.add(0, live=True)).json()["version"]
    second = (await admin.add(1, live=True)).json()["version"]
    for _ in range(2):
        assert (await admin.patch({"rollback": second})).json()["live"] == first


async def test_files_may_come_with_the_request(admin):
    folder = admin.folder()
    files = [("files", (path.name, path.read_bytes())) for path in sorted(folder.iterdir())]
    answer = await admin.world.http.post("/v1/adapters", data={"name": "finance", "live": "true"}, files=files)
    assert answer.status_code == 201, answer.text
    assert (answer.json()["source"], answer.json()["state"]) == ("upload", "live")


@pytest.mark.parametrize(
    ("data", "files", "status", "param"),
    [
        ({"name": "finance"}, [("files", ("evil.py", b"x"))], 400, "files"),
        ({"name": "finance"}, [("files", ("adapter_config.json", b"{}"))] * 2, 400, "files"),
        ({"name": "finance", "source": "/x"}, [("files", ("adapter_config.json", b"{}"))], 400, "source"),
        ({"name": "finance", "canary": "2"}, [("files", ("adapter_config.json", b"{}"))], 400, "canary"),
        ({"name": "finance"}, [("files", ("adapter_model.safetensors", b"x" * (2 * MAX_BYTES)))], 413, "files"),
        ({"name": "finance"}, [("files", ("adapter_config.json", b"{}"))], 400, "source"),
    ],
)
async def test_a_bad_form_is_refused_and_leaves_nothing(admin, data, files, status, param):
    answer = await admin.world.http.post("/v1/adapters", data=data, files=files)
    assert (answer.status_code, error_of(answer)["param"]) == (status, param), answer.text
    assert set(await admin.states()) <= {"rejected"}
    assert not admin.artefacts.held


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"source": "/x"}, "name"),
        ({"name": "Not A Name", "source": "/x"}, "name"),
        ({"name": "large", "source": "shipped:legal"}, "name"),
        ({"name": "finance"}, "source"),
        ({"name": "finance", "source": "/nowhere/at/all"}, "source"),
        ({"name": "finance", "source": "hf://one"}, "source"),
        ({"name": "finance", "source": "/x", "live": True, "canary": 0.1}, "canary"),
        ({"name": "finance", "source": "/x", "weight": 1}, "weight"),
    ],
)
async def test_a_bad_body_is_refused_by_its_field(admin, body, param):
    answer = await admin.world.http.post("/v1/adapters", json=body)
    assert (answer.status_code, error_of(answer)["param"]) == (400, param), answer.text


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({}, 400, "change"),
        ({"canary": 0.1, "pin": True}, 400, "change"),
        ({"canary": 1.5}, 400, "canary"),
        ({"promote": "v1"}, 400, "promote.constrained-str"),
        ({"version": "0" * 12, "pin": True}, 400, "version"),
        ({"promote": True}, 409, None),
        ({"rollback": True}, 409, None),
        ({"canary": 0.1}, 409, "version"),
        ({"promote": "0" * 12}, 404, "version"),
    ],
)
async def test_a_change_that_cannot_be_made_says_why(admin, body, status, param):
    await admin.add(live=True)
    answer = await admin.patch(body)
    assert answer.status_code == status, answer.text
    if param != "promote.constrained-str":
        assert error_of(answer)["param"] == param
    assert await admin.states() == ["live"]


async def test_a_first_version_cannot_be_a_canary(admin):
    answer = await admin.add(canary=0.1)
    assert (answer.status_code, error_of(answer)["code"]) == (409, "conflict")
    assert await admin.states() == ["staged"]


async def test_an_unknown_name_is_not_found(admin):
    for answer in (
        await admin.world.http.get("/v1/adapters/nobody"),
        await admin.world.http.get("/v1/adapters/nobody/versions"),
        await admin.world.http.delete("/v1/adapters/nobody"),
        await admin.patch({"pin": True}, "nobody"),
    ):
        assert (answer.status_code, error_of(answer)["code"]) == (404, "model_not_found")


async def test_a_version_that_fails_its_checks_is_noted_as_rejected(admin):
    folder = admin.folder(7, use_dora=True)
    answer = await admin.world.http.post("/v1/adapters", json={"name": "finance", "source": str(folder)})
    assert (answer.status_code, error_of(answer)["code"]) == (400, "adapter_rejected")
    assert await admin.states() == ["rejected"]
    versions = (await admin.world.http.get("/v1/adapters/finance/versions")).json()["data"]
    assert versions[0]["report"]["reason"] == error_of(answer)["message"]
    assert not admin.artefacts.held


async def test_a_version_that_fails_its_trial_is_rejected_and_its_files_go(admin):
    admin.trial.error = AdapterError("The adapter answers with numbers that are not finite.")
    answer = await admin.add(live=True)
    assert (answer.status_code, error_of(answer)["message"]) == (400, str(admin.trial.error))
    assert await admin.states() == ["rejected"]
    assert not admin.artefacts.held
    admin.trial.error = None
    assert (await admin.add(live=True)).json()["state"] == "live"


@pytest.mark.parametrize(
    "report", [{"error": "No number."}, {"finite": False, "text": "x"}, {"finite": True, "text": " "}]
)
async def test_a_version_whose_trial_is_no_answer_is_rejected(admin, report):
    admin.trial.report = report
    answer = await admin.add(live=True)
    assert (answer.status_code, error_of(answer)["code"]) == (400, "adapter_rejected")
    assert await admin.states() == ["rejected"]
    assert not admin.artefacts.held


async def test_an_engine_that_cannot_have_the_files_rejects_nothing(admin):
    admin.trial.error = AdapterError("The store does not answer.")
    admin.trial.gate.clear()
    asking = asyncio.create_task(admin.add(live=True))
    await asyncio.wait_for(admin.trial.begun.wait(), 30)
    admin.artefacts.away = True
    admin.trial.gate.set()
    assert error_of(await asking)["code"] == "artefact_store_error"
    assert await admin.states() == ["verified"]


async def test_with_no_engine_to_try_it_the_request_may_be_sent_again(admin):
    admin.trial.error = EngineError("No engine answers.")
    assert (await admin.add(live=True)).status_code == 503
    assert await admin.states() == ["verified"]
    admin.trial.error = None
    assert (await admin.add(live=True)).json()["state"] == "live"


async def test_with_the_artefact_store_away_the_request_may_be_sent_again(admin):
    admin.artefacts.away = True
    answer = await admin.add(live=True)
    assert (answer.status_code, error_of(answer)["code"]) == (503, "artefact_store_error")
    assert await admin.states() == ["verified"]
    admin.artefacts.away = False
    assert (await admin.add(live=True)).json()["state"] == "live"


async def test_with_the_ledger_away_nothing_changes(admin):
    admin.node.broken = True
    assert (await admin.add(live=True)).status_code == 503
    admin.node.broken = False
    assert await admin.states() == []
    assert not admin.artefacts.held


async def test_a_client_that_leaves_does_not_break_a_publication_off(admin):
    admin.trial.gate.clear()
    asking = asyncio.create_task(admin.add(live=True))
    await asyncio.wait_for(admin.trial.begun.wait(), 30)
    asking.cancel()
    await asyncio.wait([asking])
    admin.trial.gate.set()
    async with asyncio.timeout(30):
        while await admin.states() != ["live"]:  # noqa: ASYNC110  the database has no event
            await asyncio.sleep(0.01)


async def test_a_gateway_that_dies_leaves_a_version_that_nobody_serves(admin):
    admin.trial.gate.clear()
    asking = asyncio.create_task(admin.add(live=True))
    await asyncio.wait_for(admin.trial.begun.wait(), 30)
    await admin.world.services.publisher.close()
    await asyncio.wait([asking])
    assert await admin.states() == ["verified"]
    snapshot = await admin.node.adapters_since(-1)
    assert [(one.name, one.live, one.versions) for one in snapshot.adapters] == [("finance", None, ())]
    admin.trial.gate.set()
    assert (await admin.add(live=True)).json()["state"] == "live"


async def test_only_admin_keys_may_look_or_change(make_world, tmp_path):
    keys = {"api_keys": {"ada": "key-of-ada"}, "admin_keys": {"ops": "key-of-ops"}}
    async with opened(make_world, tmp_path, gateway=keys) as admin:
        for key, status in ((None, 401), ("key-of-ada", 403), ("key-of-ops", 200)):
            headers = {"authorization": f"Bearer {key}"} if key else {}
            assert (await admin.world.http.get("/v1/adapters", headers=headers)).status_code == status
        body = {"name": "finance", "source": str(admin.folder()), "live": True}
        ops = {"authorization": "Bearer key-of-ops"}
        assert (await admin.world.http.post("/v1/adapters", json=body, headers=ops)).status_code == 201
        lines = (await admin.world.http.get("/v1/adapters/audit", headers=ops)).json()["data"]
        assert {line["actor"] for line in lines} == {"ops"}


async def test_a_server_without_a_registry_says_so(world):
    for answer in (await world.http.get("/v1/adapters"), await world.http.get("/v1/adapters/audit")):
        assert (answer.status_code, "registry" in error_of(answer)["message"]) == (404, True)
