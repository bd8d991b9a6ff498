"""Starts the examiner, feeds it, and bounds it by the clock."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import serve_app
from serve_app.core import ConfigError
from serve_app.labelling.sandbox import wire

_GRACE_S = 5.0
"""The examiner keeps the time by itself; one that is still there so much later is killed."""
_LONGEST_PROGRAM = 200_000
"""Characters; no answer of a model is near it."""
_BOOT = (
    "import sys; sys.path.insert(0, sys.argv[1]); from serve_app.labelling.sandbox.examiner import main; "
    "sys.path.pop(0); main()"
)
_ROOT = str(Path(serve_app.__file__).parent.parent)


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """What one program may use, its tests included."""

    timeout_s: float = 10.0
    """By the clock, for all tests together; also of processor time."""
    memory_bytes: int = 1 << 29
    disk_bytes: int = 1 << 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a program."""

    passed: int
    """Tests."""
    total: int
    reason: str
    """The first failure in words; empty when all passed."""
    untestable: bool = False
    """The tests hand over something that cannot cross to the program: nothing is known of it."""
    namespaces: tuple[str, ...] = ()
    """Kernel namespaces that the program was kept in; where some lack, the audit hook alone did their part."""


def run_tests(
    code: str,
    tests: Sequence[str],
    setup: str = "",
    limits: SandboxLimits | None = None,
    run_all: bool = False,
    without_namespaces: bool = False,
) -> Outcome:
    """Run a program and its tests; stops at the first failure unless `run_all`. Blocks; use a thread.

    Raises ConfigError where the system has no process limits (Windows), and, unless `without_namespaces`, where the
    kernel does not keep programs apart: nothing is run then.
    """
    if os.name != "posix":
        raise ConfigError("Running programs needs a POSIX system with process limits; label code on Linux or macOS.")
    limits = limits or SandboxLimits()
    if len(code) > _LONGEST_PROGRAM:
        return Outcome(0, len(tests), f"the program has more than {_LONGEST_PROGRAM:,} characters")
    folder = Path(tempfile.mkdtemp(prefix="headrace-sandbox-"))
    nonce = secrets.token_hex(16)
    job = {
        "code": code,
        "setup": setup,
        "folder": os.path.realpath(folder),
        "root": _ROOT,
        "without_namespaces": without_namespaces,
        "timeout_s": limits.timeout_s,
        "memory_bytes": limits.memory_bytes,
        "disk_bytes": limits.disk_bytes,
    }
    exam = {"nonce": nonce, "setup": setup, "tests": list(tests), "all": run_all}
    try:
        written = _examined(wire.framed(job) + wire.framed(exam), folder, limits.timeout_s + _GRACE_S)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return _outcome(written, nonce, len(tests))


def _examined(told: bytes, folder: Path, timeout_s: float) -> bytes | None:
    """What the examiner wrote; None when the time was up. None of its processes is left."""
    command = [sys.executable, "-I", "-S", "-c", _BOOT, _ROOT]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        env={},
        start_new_session=True,
    )
    try:
        return process.communicate(told, timeout=timeout_s)[0]
    except subprocess.TimeoutExpired:
        return None
    finally:
        with suppress(ProcessLookupError, PermissionError):  # macOS refuses a group of which only a zombie is left
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def _outcome(written: bytes | None, nonce: str, total: int) -> Outcome:
    if written is None:
        return Outcome(0, total, "the time was up")
    try:
        said = wire.unframed(written)
    except wire.WireError:
        return Outcome(0, total, "the examiner was ended from outside")
    if not secrets.compare_digest(str(said["nonce"]), nonce):
        return Outcome(0, total, "the outcome is not the examiner's")
    if "missing" in said:
        raise ConfigError(
            f"The kernel allows no {', '.join(said['missing'])} namespace here, so that an audit hook alone would keep "
            "programs from this machine. Run them where it does, or, on a machine to throw away, with the option "
            "without_namespaces=true."
        )
    return Outcome(int(said["passed"]), total, said["reason"], said["untestable"], tuple(said["namespaces"]))
