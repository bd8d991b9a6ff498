"""Replicas under `policy: headrace`, from a settings file: apart from each other, to zero and back, nothing failed."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import settings_file
from launching import launch

pytestmark = pytest.mark.cluster

HERE = Path(__file__).parent
WITHIN_S = 120
"""Of one step, on a slow machine; a quick one takes some seconds."""
PACE = {"half_life_s": 4}
SCALING: dict[str, object] = {
    "policy": "headrace",
    "specialists": {"engine": {"tokens_per_s": 20, "call_tokens": 20}, "pace": PACE},
    "fallback": {
        "engine": {"tokens_per_s": 500},
        "pace": PACE,
        "zero": {"idle_s": 5},
        "warm_up_s": 30,
        "while_cold": "accept_small",
    },
}
DEPLOYMENTS: dict[str, object] = {
    "specialists": {"num_cpus": 0.3, "max_replicas": 2},
    "fallback": {"num_cpus": 0.3, "min_replicas": 0, "max_replicas": 2},
}


class Replicas:
    """What `replica_watch.py` has printed so far."""

    def __init__(self, lines: asyncio.StreamReader) -> None:
        self._lines = lines
        self.seen: list[dict[str, dict[str, int]]] = []

    def running(self, node: str) -> list[int]:
        """How many ran, each time that something changed."""
        return [now[node].get("RUNNING", 0) for now in self.seen]

    async def until(self, reached: Callable[[dict[str, dict[str, int]]], bool]) -> None:
        async with asyncio.timeout(WITHIN_S):
            while not (self.seen and reached(self.seen[-1])):
                self.seen.append(json.loads(await self._lines.readline()))


@asynccontextmanager
async def watched(ray_address: str) -> AsyncIterator[Replicas]:
    program = await asyncio.create_subprocess_exec(
        sys.executable, str(HERE / "replica_watch.py"), ray_address, stdout=asyncio.subprocess.PIPE
    )
    assert program.stdout is not None
    try:
        yield Replicas(program.stdout)
    finally:
        program.kill()
        await program.wait()


@asynccontextmanager
async def busy(http: httpx.AsyncClient) -> AsyncIterator[None]:
    """Ten confident queries a second; each of them must be answered."""
    asked: list[asyncio.Task[Any]] = []

    async def keep_asking() -> None:
        while True:
            asked.append(asyncio.create_task(account(http, "sure")))
            await asyncio.sleep(0.1)

    asking = asyncio.create_task(keep_asking())
    yield
    asking.cancel()
    accounts = await asyncio.gather(*asked)
    assert not any(one["escalated"] for one in accounts)


async def account(http: httpx.AsyncClient, text: str) -> Any:
    answer = await http.post("/v1/chat/completions", json={"model": "auto", "messages": [message(text)]})
    assert answer.status_code == httpx.codes.OK, answer.text
    return answer.json()["headrace"]


async def until(find: Callable[[], Any]) -> Any:
    async with asyncio.timeout(WITHIN_S):
        while not (found := await find()):  # noqa: ASYNC110  a gateway tells nobody what it has seen
            await asyncio.sleep(0.2)
    return found


def message(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


async def test_replicas_come_and_go_and_the_fallback_starts_before_it_is_needed(tmp_path: Path, notes: Path) -> None:
    engine = {"engine": "headrace_scripted:engine", "max_rows": 64}
    config = settings_file(tmp_path, specialists=engine, fallback=engine, scaling=SCALING, deployments=DEPLOYMENTS)
    path = os.pathsep.join([str(HERE / "scripted"), os.environ.get("PYTHONPATH", "")])
    hold = tmp_path / "hold"
    hold.touch()
    environment = {"PYTHONPATH": path, "HEADRACE_NOTES": str(notes), "HEADRACE_HOLD": str(hold)}
    served = launch("cascade", config, tmp_path / "stderr.log", **environment)
    try:
        async with watched(served.ray_address) as replicas, httpx.AsyncClient(base_url=served.url, timeout=60) as http:

            async def is_ready_with(fallback: str) -> bool:
                ready = await http.get("/readyz")
                return bool(ready.is_success and ready.json()["nodes"]["fallback"] == fallback)

            async def escalated() -> Any:
                found = await account(http, "unsure")
                return found if found["escalated"] else None

            await until(lambda: is_ready_with("cold"))
            async with busy(http):
                await replicas.until(lambda now: bool(now["Fallback"].get("STARTING")))  # and nothing was escalated
                kept = await account(http, "unsure")
                assert (kept["escalated"], len(kept["attempts"])) == (False, 1)
                assert "; the large model is starting, " in kept["reason"]
                hold.unlink()
                await replicas.until(
                    lambda now: "RUNNING" in now["Fallback"] and now["Specialists"].get("RUNNING") == 2
                )
                assert (await until(escalated))["attempts"][-1]["node"] == "fallback"
                await until(lambda: is_ready_with("ok"))  # while it is foreseen to be needed
            await replicas.until(lambda now: not now["Fallback"] and now["Specialists"] == {"RUNNING": 1})
            await until(lambda: is_ready_with("cold"))
            refused = await http.post("/v1/chat/completions", json={"model": "large", "messages": [message("hi")]})
            assert refused.status_code == httpx.codes.SERVICE_UNAVAILABLE
            assert int(refused.headers["retry-after"]) > 0
        assert set(replicas.running("Gateway")) == {1}
        pairs = zip(replicas.running("Specialists"), replicas.running("Fallback"), strict=True)
        changed = {(now[0] != before[0], now[1] != before[1]) for before, now in pairwise(pairs)}
        assert {(True, False), (False, True)} <= changed, "each without the other"
    finally:
        served.stop()
