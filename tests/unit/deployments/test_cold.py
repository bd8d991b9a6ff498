"""The watch over a fallback that may have no replica."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from ray.exceptions import RayError

from serve_app.config import Settings, load
from serve_app.deployments import cold
from serve_app.deployments.cold import ReplicaWatch, waking, watch
from serve_app.deployments.gateway import GatewayServer
from serve_app.deployments.probe import NodeProbe
from serve_app.engines.fake import FakeEngine
from serve_app.patterns.warmth import Waking
from tests.unit.memory_ledger import MemoryLedger

HANDLE: Any = SimpleNamespace(app_name="headrace", deployment_name="Fallback")


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def settings(policy: str = "headrace", least: int = 0) -> Settings:
    demo = load("demo").model_dump(exclude_unset=True)
    scaling = {
        "policy": policy,
        "fallback": {"engine": {"tokens_per_s": 100}, "while_cold": "accept_small", "warm_up_s": 30},
    }
    deployments = {"fallback": {"min_replicas": least, "max_replicas": 2}}
    cascade = demo["cascade"] | {"threshold": 0.99}
    return Settings.model_validate(
        demo | {"scaling": scaling, "deployments": deployments, "cascade": cascade, "cache": {"enabled": True}}
    )


def test_only_a_fallback_that_may_have_no_replica_is_watched() -> None:
    assert watch(settings(least=1), HANDLE) is None
    assert watch(settings(), None) is None
    watched = watch(settings(), HANDLE)
    assert watched is not None
    assert watched.remaining_s() == 30, "cold, until it has looked"


def test_a_start_is_counted_down_and_learnt_from() -> None:
    clock = Clock()
    watched = ReplicaWatch(lambda: (0, 0), 60, clock)
    watched.seen(0, 1)
    clock.now_s = 20
    assert watched.remaining_s() == 40
    clock.now_s = 90
    assert watched.remaining_s() == 30, "late already: nobody is told that it is about to answer"
    watched.seen(1, 1)
    assert watched.remaining_s() is None
    watched.seen(0, 0)
    assert watched.remaining_s() == pytest.approx(69)  # 0.7 x 60 + 0.3 x 90


async def test_it_looks_again_and_again_and_keeps_what_it_knows_when_nobody_tells(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cold, "_EVERY_S", 0)
    told: Iterator[Any] = iter([(1, 1), RayError("gone"), (0, 0)])
    over, loop = asyncio.Event(), asyncio.get_running_loop()
    knew: list[float | None] = []

    def look() -> tuple[int, int]:
        knew.append(watched.remaining_s())
        now = next(told, None)
        if now is None:
            loop.call_soon_threadsafe(over.set)
        if isinstance(now, Exception):
            raise now
        return now or (0, 0)

    watched = ReplicaWatch(look, 60, Clock())
    task = asyncio.create_task(watched.run())
    await over.wait()
    task.cancel()
    assert knew[:4] == [60, None, None, 60]
    assert "does not say whether the fallback runs" in caplog.text


def test_under_serve_s_own_policy_all_wait_since_nothing_else_would_start_it() -> None:
    watched = ReplicaWatch(lambda: (0, 0), 60)
    assert waking(settings("headrace"), watched, lambda: None).escalation_withheld() is not None
    assert waking(settings("serve"), watched, lambda: None).escalation_withheld() is None


async def test_the_probe_does_not_start_a_fallback_that_has_no_replica() -> None:
    watched = ReplicaWatch(lambda: (0, 0), 60)
    asked: list[str] = []

    class Large(FakeEngine):
        async def info(self) -> Any:
            asked.append("info")
            return await super().info()

    probe = NodeProbe(FakeEngine(), Large(), None, MemoryLedger(), Waking(watched, "wait", 0))
    assert (await probe())["fallback"] == "cold"
    assert asked == []
    watched.seen(1, 1)
    assert (await probe())["fallback"] == "ok"


@pytest.fixture
def cold_gateway(plain_handle: Any, tmp_path: Path) -> Iterator[tuple[GatewayServer, FakeEngine]]:
    """A gateway whose rule escalates everything to a fallback that has no replica, and that fallback."""
    large = FakeEngine(default="the large model says this")
    fallback = plain_handle(large)
    fallback.app_name = fallback.deployment_name = "unused"
    small = plain_handle(FakeEngine(default="the small one does its best"))
    yield GatewayServer(settings(), str(tmp_path / "j"), small, plain_handle(MemoryLedger()), fallback=fallback), large


async def ask(gateway: GatewayServer, model: str) -> httpx.Response:
    transport = httpx.ASGITransport(app=gateway.__serve_build_asgi_app__())
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
        body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "temperature": 0}
        return await http.post("/v1/chat/completions", json=body)


async def test_small_answers_are_given_while_it_starts_and_count_as_escalated_and_are_not_given_again(
    cold_gateway: tuple[GatewayServer, FakeEngine],
) -> None:
    gateway, large = cold_gateway
    for _ in range(2):
        account = (await ask(gateway, "auto")).json()["headrace"]
        assert (account["escalated"], account["attempts"][0]["node"]) == (False, "specialists")
        assert account["reason"].endswith("; the large model is starting, 30 s to go")
    stats = gateway.record_autoscaling_stats()
    assert (stats["decided"], stats["escalated"]) == (2, 2)
    assert large.calls == []
    await gateway.close()


async def test_who_asks_for_the_large_model_itself_gets_503_and_when_to_come_back(
    cold_gateway: tuple[GatewayServer, FakeEngine],
) -> None:
    gateway, large = cold_gateway
    answer = await ask(gateway, "large")
    assert (answer.status_code, answer.headers["retry-after"], large.calls) == (503, "30", [])
    assert answer.json()["error"]["message"] == "The large model is starting; try again in 30 s."
    assert gateway.record_autoscaling_stats()["escalated"] == 1
    assert gateway._watched is not None
    gateway._watched.seen(1, 1)
    answer = await ask(gateway, "large")
    assert answer.json()["choices"][0]["message"]["content"] == "the large model says this"
    await gateway.close()
