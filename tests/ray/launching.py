"""Starts the launcher as people do, in a process of its own: the tests' process never imports Ray."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

STOP_S = 60
"""Then it hangs; some seconds where cores are free."""
LAUNCHER = ("serve_app.deployments.launch",)
COMMAND = ("serve_app.cli", "serve")
"""What people run; it runs the launcher."""


@dataclass
class Served:
    """A running graph."""

    process: subprocess.Popen[str]
    events: list[dict[str, Any]] = field(default_factory=list)
    settings: Path | str = ""
    """The settings file, or a profile's name."""

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

    def stop(self, signum: int = signal.SIGINT) -> None:
        """Ctrl-C, as a terminal sends it: to the whole process group. Raises TimeoutExpired where it hangs."""
        os.killpg(self.process.pid, signum)
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise
        finally:
            if self.process.stdout is not None:
                self.process.stdout.close()


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
    served = Served(process, settings=config)
    assert process.stdout is not None
    for line in process.stdout:
        served.events.append(json.loads(line))
        if served.events[-1]["event"] == "ready":
            return served
    raise AssertionError(f"{graph} did not start: {served.events}\n{log.read_text()}")


def printed_by(program: Path, config: Path, folder: Path, repo: Path, timeout_s: float) -> dict[str, Any]:
    """The last line of a program's output, JSON; it gets the settings file and a folder that is `made`.

    It finds the scripted engines, and has notes, cache and settings of its own in `folder`.
    """
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(program.parent / "scripted"), str(repo)]),
        "HEADRACE_NOTES": str(folder / "notes.txt"),
        "HEADRACE_CACHE": str(folder / "cache"),
        "HEADRACE_CONFIG": str(config),
    }
    done = subprocess.run(
        [sys.executable, str(program), str(config), str(folder / "made")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found
