"""Queries of a gateway that follows a registry: versions asked for, checked, cached and told."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from serve_app.adapters.registry import RegistrySnapshot, ServedAdapter
from serve_app.core import Call, Delta, EngineInfo, ReplicaLost, TokenStat, Usage
from serve_app.gateway import AdapterBook

CACHED = {"cache": {"enabled": True}}


@dataclass
class Versioned:
    """An engine that says which version answers: the one asked for, unless it lies."""

    lie: str | None = None
    losses: int = 0
    """Calls that lose their replica, from the first on."""
    calls: list[Call] = field(default_factory=list)

    async def generate(self, call: Call) -> AsyncIterator[Delta]:
        self.calls.append(call)
        if len(self.calls) <= self.losses:
            raise ReplicaLost("gone")
        version = self.lie or call.adapter_version
        stat = TokenStat(1, "yes", -0.05, 0.2, 3.0)
        yield Delta(f"{call.adapter} {version}", (stat,), "stop", Usage(1, 0, 1), version)

    async def info(self) -> EngineInfo:
        return EngineInfo("versioned", 2048)


@pytest.fixture
def versioned(make_world):
    """Engine fields, adapters and settings -> a world."""

    def make(*adapters, engine=None, **overrides):
        book = AdapterBook((), source=None)
        world = make_world(small=engine or Versioned(), book=book, overrides=overrides)
        book.take(RegistrySnapshot(1, adapters))
        return world

    return make


def legal(**fields):
    return ServedAdapter(**{"name": "legal", "live": "v1", **fields})


async def content(world, text="hi", **fields):
    answer = (await world.chat(text, **fields)).json()
    return answer["choices"][0]["message"]["content"]


async def test_each_answer_says_its_version(versioned):
    world = versioned(legal(), ServedAdapter("finance", live="f1"))
    answer = (await world.chat("hi", model="finance")).json()
    assert answer["choices"][0]["message"]["content"] == "finance f1"
    assert answer["headrace"]["adapter_version"] == "f1"
    assert (await world.accounts())[0].adapter_version == "f1"


async def test_conversations_of_the_canary_get_the_canary(versioned):
    world = versioned(legal(canary="v2", canary_weight=0.5))
    first = [await content(world, f"question {index}", model="legal") for index in range(40)]
    again = [await content(world, f"question {index}", model="legal") for index in range(40)]
    assert set(first) == {"legal v1", "legal v2"}
    assert first == again


async def test_auto_asks_for_a_version_too(versioned):
    world = versioned(legal(canary="v2", canary_weight=1.0))
    assert await content(world, "a contract") == "legal v2"


async def test_another_version_than_asked_for_fails_and_is_counted(versioned):
    world = versioned(legal(), engine=Versioned(lie="v9"))
    answer = await world.chat("hi", model="legal")
    assert answer.status_code == 503
    assert "v9" in answer.json()["error"]["message"]
    assert "headrace_misversioned_total 1.0" in (await world.http.get("/metrics")).text
    assert (await world.accounts())[0].outcome == "failed"


async def test_a_call_that_is_made_again_asks_for_the_same_version(versioned):
    engine = Versioned(losses=1)
    world = versioned(legal(), engine=engine)
    generate = engine.generate

    async def changing(call):
        world.services.book.take(RegistrySnapshot(2, (legal(live="v2"),)))
        async for delta in generate(call):
            yield delta

    engine.generate = changing
    assert await content(world, model="legal") == "legal v1"
    assert [call.adapter_version for call in engine.calls] == ["v1", "v1"]


async def test_a_route_whose_adapter_is_gone_uses_the_default(versioned):
    world = versioned()
    answer = (await world.chat("a contract")).json()
    assert answer["choices"][0]["message"]["content"].startswith("None")
    assert "route 'legal' names adapter 'legal', which is not served" in answer["headrace"]["reason"]
    assert 'headrace_degraded_answers_total{cause="adapter_gone"} 1.0' in (await world.http.get("/metrics")).text
    status = (await world.http.get("/v1/status")).json()
    assert next(one for one in status["routes"] if one["route"] == "legal")["adapter_is_served"] is False


async def test_an_answer_of_the_canary_is_not_given_to_live_conversations(versioned):
    world = versioned(legal(canary="v2", canary_weight=1.0), **CACHED)
    assert await content(world, model="legal") == "legal v2"
    world.services.book.take(RegistrySnapshot(2, (legal(canary="v2", canary_weight=0.0),)))
    assert await content(world, model="legal") == "legal v1"
    world.services.book.take(RegistrySnapshot(3, (legal(canary="v2", canary_weight=1.0),)))
    assert await content(world, model="legal") == "legal v2"
    assert len(world.small.calls) == 2, "each version's own answer is given again"


async def test_after_a_promotion_nothing_of_the_version_before_is_given(versioned):
    world = versioned(legal(), **CACHED)
    assert await content(world, model="legal") == "legal v1"
    assert await content(world, model="legal") == "legal v1"
    world.services.book.take(RegistrySnapshot(2, (legal(live="v2"),)))
    assert await content(world, model="legal") == "legal v2"
    assert len(world.small.calls) == 2


async def test_models_come_and_go(versioned):
    world = versioned(legal(canary="v2", canary_weight=0.25))
    entry = (await world.http.get("/v1/models/legal")).json()["headrace"]
    assert entry["version"] == "v1"
    assert entry["canary"] == {"version": "v2", "weight": 0.25}
    world.services.book.take(RegistrySnapshot(2, (ServedAdapter("finance", live="f1"),)))
    names = [one["id"] for one in (await world.http.get("/v1/models")).json()["data"]]
    assert "finance" in names
    assert "legal" not in names
    assert (await world.chat("hi", model="legal")).status_code == 404


async def test_the_status_says_what_the_registry_says(versioned):
    world = versioned(legal(canary="v2", canary_weight=0.25, pinned=True))
    status = (await world.http.get("/v1/status")).json()
    adapter = status["adapters"][0]
    assert (adapter["version"], adapter["canary"], adapter["canary_weight"], adapter["is_pinned"]) == (
        "v1",
        "v2",
        0.25,
        True,
    )
    assert status["registry"]["revision"] == 1
