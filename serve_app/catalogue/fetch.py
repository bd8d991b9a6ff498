"""Brings one wheel into a folder with pip, and checks it. pip only downloads here: nothing is installed or run."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from serve_app.catalogue.entries import Wheel
from serve_app.catalogue.progress import Progress
from serve_app.catalogue.record import sha256_of
from serve_app.core import CatalogueError

POLL_S = 0.1
SCRATCH_PREFIX = ".pip-"
PIP_TIMEOUT_S = 30
PIP_RETRIES = 3

_NO_NETWORK = re.compile(
    r"NewConnectionError|NameResolutionError|ConnectTimeout|ReadTimeout|ProxyError|Connection (refused|reset|aborted)"
    r"|timed out|Network is unreachable|Could not fetch URL|Max retries exceeded|connection broken|SSLError"
)


class Fetch(Protocol):
    """Downloads one wheel."""

    def __call__(self, wheel: Wheel, folder: Path, progress: Progress) -> Path:
        """Put `wheel` into `folder` and return its path, unchecked; raises CatalogueError."""
        ...


def wheel_in(folder: Path, wheel: Wheel) -> Path | None:
    """The file of `wheel` in `folder`, whatever its tags; None where it has not come yet."""
    stem = re.sub(r"[-_.]+", "_", wheel.name).lower()
    for path in sorted(folder.glob("*.whl")):
        name, version, *_ = path.name.split("-")
        if re.sub(r"[-_.]+", "_", name).lower() == stem and version == wheel.version:
            return path
    return None


def is_good(path: Path, wheel: Wheel) -> bool:
    """Whether the file is the pinned one, to the byte."""
    return path.stat().st_size == wheel.num_bytes and sha256_of(path) == wheel.sha256


def pip_fetch(wheel: Wheel, folder: Path, progress: Progress) -> Path:
    """`pip download` from the index that pip is configured for; the wheel appears in `folder` by a rename."""
    with tempfile.TemporaryDirectory(prefix=SCRATCH_PREFIX, dir=folder) as scratch:
        fetched = Path(scratch) / "fetched"
        returncode, log = _run_pip(wheel, Path(scratch), fetched, progress)
        if returncode != 0:
            raise CatalogueError(explain(log, wheel, returncode))
        path = wheel_in(fetched, wheel)
        if path is None:
            raise CatalogueError(f"pip reported success but brought no wheel of {wheel.requirement}: try again.")
        progress.downloaded(path.stat().st_size)
        return path.rename(folder / path.name)


def _run_pip(wheel: Wheel, scratch: Path, fetched: Path, progress: Progress) -> tuple[int, str]:
    """pip's exit code and log. Its log stays in memory, for a full disk must not swallow the reason."""
    # pip writes to TMPDIR while it downloads: on the same disk as the models, and where its progress can be seen.
    env = {**os.environ, "TMPDIR": str(scratch), "PYTHONWARNINGS": "ignore"}
    command = _command(wheel, fetched)
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as pip:
        try:
            while True:
                try:
                    log, _ = pip.communicate(timeout=POLL_S)
                except subprocess.TimeoutExpired:
                    progress.at(min(_bytes_under(scratch), wheel.num_bytes))
                else:
                    return pip.returncode, log.decode("utf-8", errors="replace")
        finally:
            pip.kill()  # does nothing to a pip that has ended


def _command(wheel: Wheel, folder: Path) -> Sequence[str]:
    return [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"),
        *("--progress-bar", "off", "--no-cache-dir", "--no-deps", "--only-binary", ":all:"),
        *("--timeout", str(PIP_TIMEOUT_S), "--retries", str(PIP_RETRIES)),
        *("--dest", str(folder), wheel.requirement),
    ]


def _bytes_under(folder: Path) -> int:
    """Size of what pip has written so far; it moves files and removes folders meanwhile, which `os.walk` overlooks."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            if name.endswith(".whl"):
                with contextlib.suppress(FileNotFoundError):
                    total += (Path(parent) / name).stat().st_size
    return total


def explain(log: str, wheel: Wheel, returncode: int) -> str:
    """pip's failure in one sentence that says what to do. Names no index: its address may hold a password."""
    what = wheel.requirement
    if "No module named pip" in log:
        return f"This Python has no pip to download {what} with: run `{sys.executable} -m ensurepip` and try again."
    if "No space left on device" in log:
        return f"The disk is full while downloading {what}: free some space and try again."
    if _NO_NETWORK.search(log):
        return f"The package index cannot be reached for {what}: check the network and pip's settings, then try again."
    if "No matching distribution" in log:
        return f"The package index that pip uses has no {what} for this Python: check pip's index settings."
    return f"pip could not download {what} (exit code {returncode}): run `pip download --no-deps {what}` to see why."
