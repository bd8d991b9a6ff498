"""The registry through the ledger's replica and its handle; the settings' adapters come in when it starts."""

from typing import Any

import pytest

from serve_app.adapters import content_digest, shipped
from serve_app.adapters.registry import AdapterRegistry, AdapterVersion
from serve_app.config import Settings, load
from serve_app.core import LedgerError, ModelNotFound, RequestError
from serve_app.deployments.adapters import RegistryCalls, seeded
from serve_app.deployments.handles import LedgerHandle
from serve_app.deployments.paths import with_artefacts
from serve_app.store import Store

DIGEST = "5" * 64
VERSION = AdapterVersion("tiny", DIGEST[:12], DIGEST, "staged", "upload", 8, 10, True, 1.0, "ada")


class Replica(RegistryCalls):
    def __init__(self, registry: AdapterRegistry) -> None:
        self._registry = registry


@pytest.fixture
async def registry(tmp_path) -> Any:
    store = Store(str(tmp_path / "r.sqlite3"))
    await store.open()
    yield AdapterRegistry(store)
    await store.close()


def settings(tmp_path, **specialists: str) -> Settings:
    demo = load("demo").model_dump(exclude_unset=True)
    demo["specialists"] |= specialists
    return with_artefacts(Settings.model_validate(demo | {"ledger": {"url": str(tmp_path / "ledger.sqlite3")}}))


async def test_every_call_arrives_and_comes_back_as_itself(plain_handle, registry):
    handle = LedgerHandle(plain_handle(Replica(registry)))
    assert await handle.adapters_add(VERSION) == VERSION
    assert (await handle.adapters_promote("tiny", DIGEST[:12], "ada")).adapters[0].live == DIGEST[:12]
    other = AdapterVersion("tiny", "6" * 12, "6" * 64, "staged", "upload", 8, 10, True, 1.0, "ada")
    await handle.adapters_add(other)
    assert (await handle.adapters_canary("tiny", "6" * 12, 0.5, "ada")).adapters[0].canary == "6" * 12
    assert (await handle.adapters_rollback("tiny", "ada", "why", "6" * 12)).adapters[0].canary is None
    assert (await handle.adapters_pin("tiny", True, "ada")).adapters[0].pinned
    assert [one.state for one in await handle.adapters_all("tiny")] == ["retired", "live"]
    assert [one.action for one in await handle.adapters_audit(3, None, "tiny")] == ["pin", "rollback", "canary"]
    snapshot = await handle.adapters_remove("tiny", "ada")
    assert await handle.adapters_snapshot() == snapshot == await handle.adapters_since(-1)
    assert await handle.adapters_since(snapshot.revision) is None


async def test_mistakes_and_faults_stay_what_they_are(plain_handle, registry):
    handle = LedgerHandle(plain_handle(Replica(registry)))
    with pytest.raises(ModelNotFound):
        await handle.adapters_remove("tiny", "ada")
    await handle.adapters_add(VERSION)
    with pytest.raises(RequestError) as raised:
        await handle.adapters_promote("tiny", None, "ada")
    assert raised.value.code == "conflict"
    await registry._store.close()
    with pytest.raises(LedgerError):
        await handle.adapters_since(-1)


async def test_the_profile_s_adapters_are_live_at_the_first_start(registry, tmp_path):
    upkeep = await seeded(registry, settings(tmp_path))
    found = {one.name: one.live for one in (await registry.snapshot()).adapters}
    assert found["legal"] == content_digest(shipped("legal"))[:12]
    assert set(found) == set(load("demo").adapters)
    await upkeep.publish()
    assert (tmp_path / "ledger.sqlite3.adapters" / content_digest(shipped("legal")) / "COMPLETE").is_file()


async def test_servers_elsewhere_have_adapters_of_their_own(registry, tmp_path):
    remote = {"servers": [{"url": "http://127.0.0.1:1", "model": "m"}]}
    demo = settings(tmp_path)
    node = demo.specialists.model_copy(update={"engine": "openai", "remote": remote})
    await seeded(registry, demo.model_copy(update={"specialists": node}))
    assert (await registry.snapshot()).adapters == ()


def test_each_database_has_a_store_of_its_own_and_relative_folders_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    demo = load("demo")

    def store(**registry: str) -> str | None:
        sections = demo.model_dump(exclude_unset=True) | {"registry": registry}
        return with_artefacts(Settings.model_validate(sections)).registry.store

    assert store(store="files") == f"{tmp_path}/files"
    assert store(store="s3://bucket/adapters") == "s3://bucket/adapters"
    sections = demo.model_dump(exclude_unset=True)
    places = set()
    for url in ("a.sqlite3", "b.sqlite3", "postgresql://ada:pw@db/x", "postgresql://ada:pw@db/y"):
        found = with_artefacts(Settings.model_validate(sections | {"ledger": {"url": url}})).registry.store
        assert found is not None
        assert found.startswith("/")
        assert "pw" not in found
        places.add(found)
    assert len(places) == 4
