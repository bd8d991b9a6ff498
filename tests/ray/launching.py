"""Starts the launcher as people do, in a process of its own: the tests' process never imports Ray."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

START_S, STOP_S = 180, 15
LAUNCHER = ("serve_app.deployments.launch",)
COMMAND = ("serve_app.cli", "serve")
"""What people run; it runs the launcher."""


@dataclass
class Served:
    """A running graph."""

    process: subprocess.Popen[str]
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return str(self.events[-1]["url"])

    @property
    def ray_address(self) -> str:
        return str(self.events[-1]["ray_address"])

    def processes(self) -> list[psutil.Process]:
        """The launcher and all that it started."""
        launcher = psutil.Process(self.process.pid)
        return [launcher, *launcher.children(recursive=True)]

    def stop(self, signum: int = signal.SIGINT) -> float:
        """Ctrl-C, as a terminal sends it: to the whole process group. Returns the seconds it took."""
        started_s = time.monotonic()
        os.killpg(self.process.pid, signum)
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise
        finally:
            if self.process.stdout is not None:
                self.process.stdout.close()
        return time.monotonic() - started_s


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def launch(graph: str, config: Path | str, log: Path, module: Sequence[str] = LAUNCHER, **environment: str) -> Served:
    """Start a graph and return when it is ready; fails with the launcher's own words. `log`: where its stderr goes."""
    arguments = ["--graph", graph, "--config", str(config), "--port", str(free_port()), "--json"]
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", *module, *arguments],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=os.environ | environment,
            start_new_session=True,
        )
    served = Served(process)
    assert process.stdout is not None
    for line in process.stdout:
        served.events.append(json.loads(line))
        if served.events[-1]["event"] == "ready":
            return served
    raise AssertionError(f"{graph} did not start: {served.events}\n{log.read_text()}")
