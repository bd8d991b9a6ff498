"""An engine replica's adapters, with the ledger's handle and the artefact store as they are, and a fake engine."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import save_file

from serve_app.adapters.registry.artefacts import open_artefacts
from serve_app.adapters.registry.records import RegistrySnapshot, ServedAdapter, ServedVersion
from serve_app.config.registry import RegistrySettings
from serve_app.core import AdapterError, Call, EngineError, LedgerError, Message, ModelNotFound, SamplingParams
from serve_app.deployments import following
from serve_app.deployments.following import Followed, Following
from serve_app.deployments.handles import EngineHandle
from serve_app.engines.fake import FakeEngine
from serve_app.telemetry import instruments as its
from tests.unit.adapters.conftest import lora_tensors

CALL = Call("c1", SamplingParams(), (Message("user", "hi"),), adapter="law")


class Ledger:
    """As much of the ledger's replica as engines ask."""

    def __init__(self) -> None:
        self.snapshot = RegistrySnapshot()
        self.away = False

    async def adapters_since(self, revision: int) -> RegistrySnapshot | None:
        if self.away:
            raise LedgerError("the database is away")
        return None if self.snapshot.revision == revision else self.snapshot

    def live(self, name: str, digest: str) -> None:
        served = ServedAdapter(name, digest[:12], versions=(ServedVersion(digest[:12], digest),))
        self.snapshot = RegistrySnapshot(self.snapshot.revision + 1, (served,))


Start = Callable[..., Any]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RegistrySettings:
    monkeypatch.setenv("HEADRACE_CACHE", str(tmp_path / "cache"))
    return RegistrySettings(store=str(tmp_path / "store"), follow_s=0.01)


@pytest.fixture
async def digest(settings: RegistrySettings, tmp_path: Path) -> str:
    """Of an adapter in the store."""
    folder = tmp_path / "made"
    folder.mkdir()
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": "tiny"}))
    save_file(lora_tensors(), folder / "adapter_model.safetensors")
    return await open_artefacts(settings, {}).put(folder)


@pytest.fixture
def start(settings: RegistrySettings, plain_handle: Any) -> Start:
    """Starts a replica's part on a node of this database."""

    async def starter(ledger: Ledger, engine: FakeEngine) -> Followed:
        followed = Followed(engine, plain_handle(ledger), Following(settings, "mine"), {})
        await followed.begin()
        return followed

    return starter


async def test_replica_that_has_begun_serves_what_the_registry_has(start: Start, digest: str) -> None:
    ledger, engine = Ledger(), FakeEngine()
    ledger.live("law", digest)
    followed = await start(ledger, engine)
    assert engine.adapters == {"law": digest[:12]}
    assert {one.instrument: one.value for one in followed.readings()} == {
        its.ENGINE_ADAPTER_REVISION: 1,
        its.ENGINE_ADAPTERS_FAILED: 0,
    }


async def test_call_for_a_version_that_is_new_waits_for_it_within_its_own_time(start: Start, digest: str) -> None:
    ledger, engine = Ledger(), FakeEngine()
    followed = await start(ledger, engine)
    ledger.live("law", digest)
    call = replace(CALL, adapter_version=digest[:12], timeout_s=100.0)
    found = await followed.found(call)
    assert found.timeout_s is not None and 0 < found.timeout_s < 100
    assert {delta.adapter_version async for delta in engine.generate(found)} == {digest[:12]}
    assert await followed.found(CALL) is CALL, "nothing is waited for"
    unknown = replace(CALL, adapter_version="nothing")
    assert await followed.found(unknown) == unknown
    with pytest.raises(ModelNotFound):
        await anext(engine.generate(unknown))


async def test_replica_that_starts_while_the_ledger_is_away_has_what_its_node_had(
    start: Start, digest: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_FIND_WITHIN_S", 0.05)
    ledger = Ledger()
    ledger.away = True
    first = FakeEngine(adapters={"own": "o1"})
    followed = await start(ledger, first)
    assert first.adapters == {"own": "o1"}
    with pytest.raises(EngineError, match="the registry cannot be asked"):
        await followed.found(CALL)
    ledger.away = False
    ledger.live("law", digest)
    await followed.follower.now()
    ledger.away = True
    second = FakeEngine(adapters={"own": "o1"})
    await start(ledger, second)
    assert second.adapters == first.adapters == {"own": "o1", "law": digest[:12]}
    (copy,) = (tmp_path / "cache" / "registry").iterdir()
    copy.write_text("damaged")
    third = FakeEngine(adapters={"own": "o1"})
    await start(ledger, third)
    assert third.adapters == {"own": "o1"}
    assert any("is of no use" in line for line in caplog.messages)


async def test_ledger_that_does_not_answer_holds_up_no_start(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(Ledger):
        async def adapters_since(self, revision: int) -> RegistrySnapshot | None:
            await asyncio.Event().wait()
            return None

    monkeypatch.setattr(following, "_LEDGER_WITHIN_S", 0.01)
    engine = FakeEngine(adapters={"own": "o1"})
    followed = await start(Silent(), engine)
    assert engine.adapters == {"own": "o1"} and followed.follower.state.registry_away


async def test_version_in_the_store_is_tried_under_no_name(start: Start, plain_handle: Any, digest: str) -> None:
    engine = FakeEngine(default="the base", answers={digest[:12]: "another answer"})
    followed = await start(Ledger(), engine)
    report = await EngineHandle(plain_handle(followed), "specialists").trial(digest)
    assert report["text"] == "another answer" and report["differs_from_base"] and not engine.adapters
    with pytest.raises(AdapterError, match="is not in"):
        await EngineHandle(plain_handle(followed), "specialists").trial("0" * 64)
