"""The graph on a local cluster of two kinds of nodes, in a process of its own, seen from outside.

The settings are the cluster profile's with scripted engines, and the Serve config is made from them as for
`serve deploy`: GPU fractions 0.3 (router), 0.5 (specialists) and 1 (fallback), bounds as each part of the bench wants.
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from bench.machine import REPO
from serve_app.config import load, profiles
from serve_app.config.serve import deploy_config

FRACTIONS = {"Gateway": 0.0, "Router": 0.3, "Specialists": 0.5, "Fallback": 1.0, "Ledger": 0.0}
"""GPU of a replica."""
ONE_PER_NODE = ("Gateway", "Router", "Specialists")
"""No two of their replicas on one node, so that none of them is lost whole with it. A fallback fills a node anyway."""
_ENGINE = {"engine": "bench.cluster.engines:engine", "max_rows": 64}
_NUM_CPUS = 0.5
_EPS = 1e-3
_START_S, _STOP_S, _POLL_S = 180.0, 40.0, 0.25

Bounds = Mapping[str, tuple[int, int]]
"""Deployment -> fewest and most replicas."""


def write_settings(folder: Path, ledger_url: str, scaling: Mapping[str, Any]) -> Path:
    """The cluster profile with scripted engines, a ledger of its own and pretend resources. `scaling`: its section."""
    settings: dict[str, Any] = yaml.safe_load(profiles()["cluster"].read_text())
    settings["specialists"] |= _ENGINE
    settings["fallback"] |= _ENGINE
    settings["ledger"] = {"url": ledger_url, "journal": {"folder": str(folder / "journals")}}
    settings["gateway"] = {"host": "127.0.0.1"}
    settings["scaling"] = dict(scaling)
    for name, fraction in FRACTIONS.items():
        settings["deployments"][name.lower()] |= {"num_cpus": _NUM_CPUS, "num_gpus": fraction}
    file = folder / "settings.yaml"
    file.write_text(yaml.safe_dump(settings))
    return file


def application(file: Path, bounds: Bounds) -> dict[str, Any]:
    """Of the Serve config that `headrace deploy-config` makes of the settings, with other bounds: the application.

    A deployment with equal bounds autoscales all the same: with another set of policies Serve would replace every
    replica.
    """
    app: dict[str, Any] = deploy_config(load(str(file)), "production", str(file))["applications"][0]
    for deployment in app["deployments"]:
        fewest, most = bounds.get(deployment["name"], (None, None))
        if fewest is not None:
            deployment["autoscaling_config"] |= {"min_replicas": fewest, "max_replicas": most}
        if deployment["name"] in ONE_PER_NODE:
            deployment["max_replicas_per_node"] = 1
    return app | {"import_path": "bench.cluster.app:app"}


@dataclass(frozen=True, slots=True)
class Replica:
    """One that runs."""

    deployment: str
    node: str
    pid: int


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the replicas lie."""

    replicas: tuple[Replica, ...]
    gpus: Mapping[str, float]
    """Node -> how much of its one GPU is taken, as Ray counts."""
    head: str

    def counts(self) -> Counter[str]:
        """Deployment -> replicas."""
        return Counter(replica.deployment for replica in self.replicas)

    def by_node(self) -> dict[str, list[str]]:
        """Node -> deployments of its replicas, sorted."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        for replica in self.replicas:
            found[replica.node].append(replica.deployment)
        return {node: sorted(names) for node, names in found.items()}

    def overbooked(self) -> list[str]:
        """GPUs that are taken more than once, or on the head, which has none. Holds at any moment."""
        found = {node: sum(FRACTIONS[name] for name in names) for node, names in self.by_node().items()}
        return [
            f"{max(taken, self.gpus.get(node, 0)):g} GPU taken on {'the head' if node == self.head else 'one node'}"
            for node, taken in found.items()
            if max(taken, self.gpus.get(node, 0)) > (0 if node == self.head else 1)
        ]

    def faults(self) -> list[str]:
        """What is not as configured, once nothing starts or stops: fractions too."""
        found = self.overbooked()
        for node, names in self.by_node().items():
            wanted, taken = sum(FRACTIONS[name] for name in names), self.gpus.get(node, 0.0)
            if abs(wanted - taken) > _EPS:
                found.append(f"{', '.join(names)} take {taken:g} of a GPU and not {wanted:g}")
        return found


class Graph:
    """A running graph. Its methods may be called from one task at a time."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self._process, self.url = process, url
        self._one_at_a_time = asyncio.Lock()

    async def deploy(self, app: dict[str, Any]) -> None:
        """Deploy or change it, and return when it is as wanted. Raises RuntimeError."""
        await self._do("deploy", app=app)
        fewest = {one["name"]: _fewest(one) for one in app["deployments"]}

        async def runs() -> bool:
            status = await self.status()
            if status["app"] == "DEPLOY_FAILED":
                raise RuntimeError(status["message"])
            running = status["running"]
            return (
                status["app"] == "RUNNING"
                and all(running[name] >= count for name, count in fewest.items())
                and await self.ready()
            )

        try:
            await eventually(runs, _START_S, "the graph does not run as deployed")
        except TimeoutError as error:
            raise TimeoutError(f"{error}: {await self.status()}, {await self.placement()}") from error

    async def status(self) -> dict[str, Any]:
        """Serve's view: app, message, running (deployment -> replicas), healthy."""
        return await self._do("status")

    async def placement(self) -> Placement:
        """Ray's view."""
        told = await self._do("replicas")
        return Placement(tuple(Replica(**one) for one in told["replicas"]), told["gpus"], told["head"])

    async def kill(self, replica: Replica) -> None:
        """`kill -9`."""
        await self._do("kill", pid=replica.pid)

    async def kill_node(self, node: str) -> dict[str, Any]:
        """`kill -9` all processes of a worker node."""
        return await self._do("kill_node", node=node)

    async def add_nodes(self, count: int) -> None:
        """So many workers more."""
        await self._do("add_nodes", count=count)

    async def ready(self) -> bool:
        """Whether every node of the graph answers."""
        try:
            async with httpx.AsyncClient() as http:
                response = await http.get(f"{self.url}/readyz", timeout=5)
        except httpx.TransportError:
            return False
        return response.status_code == httpx.codes.OK

    async def _do(self, name: str, **arguments: Any) -> dict[str, Any]:
        async with self._one_at_a_time:
            return await asyncio.to_thread(self._asked, {"do": name} | arguments)

    def _asked(self, command: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        print(json.dumps(command), file=self._process.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self._process.stdout.readline() or '{"error": "the cluster has ended"}')
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer


@asynccontextmanager
async def running(folder: Path, settings: Path, num_workers: int) -> AsyncIterator[Graph]:
    """A cluster with nothing deployed on it yet. `folder` gets its log. Raises RuntimeError with the log's end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = folder / "cluster.log"
    process = await asyncio.to_thread(_started, [str(settings), str(port), str(num_workers)], log)
    try:
        assert process.stdout is not None
        line = await asyncio.to_thread(process.stdout.readline)
        if not line:
            raise RuntimeError(f"the cluster did not start:\n{log.read_text()[-3000:]}")
        yield Graph(process, f"http://127.0.0.1:{port}")
    finally:
        await asyncio.to_thread(_end, process)


async def eventually(holds: Callable[[], Awaitable[bool]], within_s: float, otherwise: str) -> float:
    """Return the seconds it took to hold. Raises TimeoutError."""
    started_s = time.monotonic()
    while not await holds():
        if time.monotonic() > started_s + within_s:
            raise TimeoutError(f"{otherwise} within {within_s:g} s")
        await asyncio.sleep(_POLL_S)
    return time.monotonic() - started_s


def _fewest(deployment: dict[str, Any]) -> int:
    scaling = deployment.get("autoscaling_config")
    return int(scaling["min_replicas"] if scaling else deployment["num_replicas"])


def _started(arguments: list[str], log: Path) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(REPO), os.environ.get("PYTHONPATH", "")])
    with log.open("w") as stderr:
        return subprocess.Popen(
            [sys.executable, "-m", "bench.cluster.program", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            cwd=REPO,
            env=os.environ | {"PYTHONPATH": path},
            start_new_session=True,
        )


def _end(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.close()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    process.stdout.close()
