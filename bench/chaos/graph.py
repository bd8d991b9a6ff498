"""The graph that is hurt: the cascade with scripted engines, started by its launcher, in processes one can kill."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import yaml

from bench.machine import REPO
from serve_app.config import profiles

_ENGINE = {"engine": "bench.chaos.engines:engine", "max_rows": 64}
_STOP_S = 40


def write_settings(folder: Path, ledger_url: str, num_gateways: int) -> Path:
    """The demo profile with scripted engines and so many gateways."""
    settings: dict[str, Any] = yaml.safe_load(profiles()["demo"].read_text())
    settings["specialists"] |= _ENGINE
    settings["fallback"] |= _ENGINE
    settings["ledger"] = {"url": ledger_url, "journal": {"folder": str(folder / "journals")}}
    settings["deployments"]["gateway"] |= {"min_replicas": num_gateways, "max_replicas": num_gateways}
    file = folder / "settings.yaml"
    file.write_text(yaml.safe_dump(settings))
    return file


class Graph:
    """A running graph."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self._process, self.url = process, url

    def replicas(self, deployment: str) -> list[psutil.Process]:
        """The processes of a deployment's replicas."""
        found = []
        for process in psutil.Process(self._process.pid).children(recursive=True):
            try:
                if f"ServeReplica:headrace:{deployment}" in " ".join(process.cmdline()):
                    found.append(process)
            except psutil.Error:  # it has just gone
                continue
        return found

    def cpu_s(self) -> dict[str, float]:
        """Processor time so far of each deployment's replicas, of HAProxy, and of all else that Ray runs, `ray`."""
        found: dict[str, float] = {}
        for process in psutil.Process(self._process.pid).children(recursive=True):
            try:
                command, times = " ".join(process.cmdline()), process.cpu_times()
            except psutil.Error:  # it has just gone
                continue
            role = _role(command)
            found[role] = found.get(role, 0.0) + times.user + times.system
        return found

    def kill(self, deployment: str, most: Callable[[psutil.Process], int] | None = None) -> int:
        """`kill -9` one replica, the one with the most of something where that is given; returns its process id."""
        replicas = self.replicas(deployment)
        victim = max(replicas, key=most) if most else replicas[0]
        victim.kill()
        return int(victim.pid)


def _role(command: str) -> str:
    _, replica, name = command.partition("ServeReplica:")
    if replica:
        return name.partition(":")[2].strip().lower()
    return "haproxy" if "haproxy" in command else "ray"


@contextmanager
def running(
    settings: Path, log: Path, graph: str = "cascade", program: str = "serve_app.deployments.launch"
) -> Iterator[Graph]:
    """Start a graph of `graphs/`, and stop it as Ctrl-C does. Raises RuntimeError with the launcher's words.

    `program`: a module that takes the launcher's options and tells what it tells.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = ["--graph", graph, "--config", str(settings), "--port", str(port), "--json"]
    path = os.pathsep.join([str(REPO), os.environ.get("PYTHONPATH", "")])
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", program, *arguments],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            cwd=REPO,
            env=os.environ | {"PYTHONPATH": path},
            start_new_session=True,
        )
    try:
        yield Graph(process, _url_when_ready(process, log))
    finally:
        _end(process)


def _url_when_ready(process: subprocess.Popen[str], log: Path) -> str:
    assert process.stdout is not None
    events = []
    for line in process.stdout:
        events.append(json.loads(line))
        if events[-1]["event"] == "ready":
            return str(events[-1]["url"])
    raise RuntimeError(f"the graph did not start: {events}\n{log.read_text()}")


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
