"""A fallback elsewhere with a dead first server: Ray's page tells who is asked, who answers, who is left alone."""

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from agents import pages_of, summed
from asking import ask, eventually
from conftest import client, settings_file
from launching import Served, launch

from tests.parts.engines.openai_server import OpenAIServer
from tests.parts.engines.openai_server import served as served_app

pytestmark = pytest.mark.cluster

DEAD = "http://127.0.0.1:9/v1"
"""Nobody listens on the port `discard`."""
NUM_QUERIES = 3
WITHIN_S = 45.0


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """A server in a thread -> its address."""
    up, end, urls = threading.Event(), asyncio.Event(), list[str]()
    loop = asyncio.new_event_loop()

    async def run() -> None:
        async with served_app(OpenAIServer().app()) as url:
            urls.append(url)
            up.set()
            await end.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),), name="elsewhere")
    thread.start()
    assert up.wait(30)
    yield urls[0]
    loop.call_soon_threadsafe(end.set)
    thread.join()
    loop.close()


@pytest.fixture
def graph(elsewhere: str, tmp_path: Path) -> Iterator[Served]:
    servers = [{"base_url": url, "model": "served"} for url in (DEAD, elsewhere)]
    remote = {"servers": servers, "breaker": {"failures": 2, "open_s": 600, "max_open_s": 600}}
    scripted = {"engine": "headrace_scripted:engine"}
    config = settings_file(tmp_path, specialists=scripted, fallback={"engine": "openai", "remote": remote})
    path = os.pathsep.join([str(Path(__file__).parent / "scripted"), os.environ.get("PYTHONPATH", "")])
    environment = {"HEADRACE_NOTES": str(tmp_path / "notes.txt"), "RAY_metrics_report_interval_ms": "1000"}
    served = launch("cascade", config, tmp_path / "stderr.log", PYTHONPATH=path, **environment)
    yield served
    served.stop()


def test_the_figures_of_a_remote_engine_reach_the_page_of_rays_agent(graph: Served, elsewhere: str) -> None:
    with client(graph) as connected:
        for _ in range(NUM_QUERIES):
            assert ask(connected, "hello", model="large").choices[0].message.content == "one two three"
    pages = pages_of(graph.ray_address)
    dead, alive = f"served at {DEAD.split('/')[2]}", f"served at {elsewhere.split('/')[2]}"
    calls = {("fallback", dead, "failed"): 2.0, ("fallback", alive, "answered"): float(NUM_QUERIES)}
    eventually(lambda: summed(pages, "ray_headrace_remote_calls_total", "node", "server", "outcome") == calls, WITHIN_S)
    eventually(lambda: summed(pages, "ray_headrace_remote_retries_total", "server") == {(alive,): 2.0}, WITHIN_S)
    opened = {(dead,): 1.0, (alive,): 0.0}
    eventually(lambda: summed(pages, "ray_headrace_remote_breaker_open", "server") == opened, WITHIN_S)
