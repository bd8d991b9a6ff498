"""An adapter's whole life on two gateways and two replicas, over HTTP, while clients ask and processes are killed."""

import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from adapters_run import folder_of
from asking import eventually
from conftest import settings_file
from lifecycle_load import Load, ask

from bench.chaos.graph import Graph, running
from serve_app import catalogue
from serve_app.adapters import content_digest

pytestmark = pytest.mark.cluster

HERE = Path(__file__).parent
NAME = "law"
WITHIN_S = 60.0
"""For what takes a second on an idle machine, and new processes where one was killed."""
GATEWAY_PORTS = range(30000, 31001)


@dataclass
class Life:
    """A running graph and what is done to it."""

    graph: Graph
    notes: Path

    def gateways(self) -> list[str]:
        """The address of each gateway itself, past the proxy."""
        found = []
        for gateway in self.graph.replicas("Gateway"):
            listening = [one for one in gateway.net_connections("tcp") if one.status == psutil.CONN_LISTEN]
            ports = {one.laddr.port for one in listening} & set(GATEWAY_PORTS)
            found += [f"http://127.0.0.1:{port}" for port in ports]
        return found

    def change(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        """One change, sent again while the ledger is away, as the API says that one may."""

        def done() -> httpx.Response | None:
            response = httpx.request(method, self.graph.url + path, json=body or None, timeout=WITHIN_S)
            return None if response.status_code == httpx.codes.SERVICE_UNAVAILABLE else response

        response = eventually(done, WITHIN_S)
        assert response.is_success, response.text
        found: dict[str, Any] = response.json()
        return found

    def add(self, folder: Path, **more: Any) -> str:
        """The version that is added."""
        found = self.change("POST", "/v1/adapters", name=NAME, source=str(folder), base_override=True, **more)
        return str(found["version"])

    def patch(self, **body: Any) -> None:
        self.change("PATCH", f"/v1/adapters/{NAME}", **body)

    def everybody_has(self, live: str | None) -> float:
        """Wait until both gateways and both replicas have that version live; the time when they had."""
        eventually(lambda: self._gateways_have(live) and self._replicas_have(live), WITHIN_S)
        return time.monotonic()

    def _gateways_have(self, live: str | None) -> bool:
        gateways = self.gateways()
        return len(gateways) == 2 and all(_served(get(url, "/v1/status")) == live for url in gateways)

    def _replicas_have(self, live: str | None) -> bool:
        lines = [json.loads(line) for line in self.notes.read_text().splitlines()]
        told = {line["pid"]: line["live"].get(NAME) for line in lines}
        replicas = self.graph.replicas("Specialists")
        return len(replicas) == 2 and all(told.get(one.pid, "nothing") == live for one in replicas)


def get(url: str, path: str) -> Any:
    return httpx.get(url + path, timeout=WITHIN_S).raise_for_status().json()


def _served(status: dict[str, Any]) -> str | None:
    return next((one["version"] for one in status["adapters"] if one["name"] == NAME), None)


@pytest.fixture
def life(tmp_path: Path, repo: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Life]:
    catalogue.pull("all-minilm-l6-v2")
    two = {"num_cpus": 0.1, "min_replicas": 2, "max_replicas": 2}
    config = settings_file(
        tmp_path,
        specialists={"engine": "headrace_versioned:engine", "max_rows": 64},
        router={"encoder": str(catalogue.resolve("all-minilm-l6-v2").path)},
        deployments={"gateway": two, "specialists": two},
    )
    notes = tmp_path / "notes.txt"
    notes.touch()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE / "scripted"), str(repo)]))
    monkeypatch.setenv("HEADRACE_NOTES", str(notes))
    monkeypatch.setenv("HEADRACE_CACHE", str(tmp_path / "cache"))
    with running(config, tmp_path / "stderr.log", "router") as graph:
        yield Life(graph, notes)


def test_a_whole_life_under_load_with_a_replica_and_the_ledger_killed(life: Life, tmp_path: Path) -> None:
    folders = [folder_of(tmp_path, number) for number in range(3)]
    first, second, third = [content_digest(folder)[:12] for folder in folders]
    says = {version: f"number {number}" for number, version in enumerate((first, second, third))}
    assert life.add(folders[0], live=True) == first
    life.everybody_has(first)
    with Load(life.graph.url, NAME, 4) as load:
        life.add(folders[1], canary=0.5)
        until(lambda since: load.versions_since(since) == {first, second})
        life.graph.kill("Specialists")
        life.patch(promote=True)
        until(lambda since: load.versions_since(since) == {second}, life.everybody_has(second))
        with ThreadPoolExecutor(1) as pool:
            rolled_back = pool.submit(life.patch, rollback=second)
            life.graph.kill("Ledger")
            rolled_back.result()
        until(lambda since: load.versions_since(since) == {first}, life.everybody_has(first))
        life.add(folders[2], live=True)
        life.everybody_has(third)
        gone_s = time.monotonic()
        life.change("DELETE", f"/v1/adapters/{NAME}")
        life.everybody_has(None)
        life.add(folders[0], live=True)
        back_s = life.everybody_has(first)
        until(lambda since: load.versions_since(since) == {first}, back_s)
    absent = [one for one in load.seen if one.status == httpx.codes.NOT_FOUND]
    failed = [one for one in load.seen if one.status != httpx.codes.OK and one not in absent]
    assert failed == []
    assert all(one.done_at_s > gone_s and one.asked_at_s < back_s for one in absent)
    assert {(one.version, one.text) for one in load.seen if one.version} == set(says.items())
    check_the_audit(life, [first, second, third])
    check_that_routes_reach_both_gateways(life, says[first])
    print(json.dumps({"asked": len(load.seen), "absent": len(absent)}))


def until(find: Callable[[float], bool], since_s: float | None = None) -> None:
    """Wait for what is true of the queries asked since then."""
    since_s = time.monotonic() if since_s is None else since_s
    eventually(lambda: find(since_s), WITHIN_S)


def check_the_audit(life: Life, versions: list[str]) -> None:
    """Each change made one line and one revision, and the rows agree with the last of them."""
    first, second, third = versions
    lines = get(life.graph.url, "/v1/adapters/audit?limit=1000")["data"][::-1]
    assert [line["revision"] for line in lines] == list(range(1, len(lines) + 1))
    ours = [(line["action"], line["version"]) for line in lines if line["name"] == NAME]
    assert [line for line in ours if line[0] not in ("add", "stage")] == [
        ("promote", first),
        ("canary", second),
        ("promote", second),
        ("rollback", first),
        ("promote", third),
        ("remove", None),
        ("promote", first),
    ]
    states = {one["version"]: one["state"] for one in get(life.graph.url, f"/v1/adapters/{NAME}/versions")["data"]}
    assert states == {first: "live", second: "retired", third: "retired"}
    assert {get(url, "/v1/status")["registry"]["revision"] for url in life.gateways()} == {len(lines)}


def check_that_routes_reach_both_gateways(life: Life, says: str) -> None:
    """Of a label of the router, and of what has none."""
    life.change("PATCH", "/v1/routing", routes={"general": NAME}, default=NAME)

    def answer(url: str) -> str:
        with httpx.Client(base_url=url, timeout=WITHIN_S) as client:
            return ask(client, "auto", "What is the highest mountain of Europe?").text

    gateways = life.gateways()
    assert len(gateways) == 2
    eventually(lambda: all(answer(url) == says for url in gateways), WITHIN_S)
