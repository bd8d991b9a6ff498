"""Runs one graph on this machine: what `headrace serve` starts, as `python -m serve_app.deployments.launch`.

1. Settings are checked; switches go into the environment; only then is Ray imported.
2. A Ray of our own starts on loopback, in a private folder; another Ray of this machine is neither used nor touched.
3. The graph is deployed, with one line per deployment that is ready; `/readyz` turning 200 prints the address.
4. Ctrl-C or SIGTERM: queries in flight end, accounts are saved, Serve and Ray stop, the folder goes. Exit code 0.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import FrameType

from serve_app.config import CONFIG_ENV, config_path, load
from serve_app.core import HeadraceError
from serve_app.deployments.interpreters import check_interpreters
from serve_app.deployments.reports import Reporter
from serve_app.deployments.switches import one_machine

_PARENT_POLL_S = 0.5


def main(arguments: list[str] | None = None) -> int:
    """Block until told to stop. Returns the exit code."""
    options = _parser().parse_args(arguments)
    report = Reporter(as_json=options.json)
    _take_signals()
    if options.parent is not None:
        threading.Thread(target=_follow, args=(options.parent,), name="parent", daemon=True).start()
    try:
        return _serve(options.graph, options.config, options.port, report)
    except HeadraceError as error:
        report.failed(str(error))
        return 1
    except KeyboardInterrupt:  # before there was anything to stop
        report.stopped()
        return 0
    finally:
        _forget_interrupts()


def _serve(graph: str, config: str | None, port: int | None, report: Reporter) -> int:
    path = config_path(config).absolute()
    settings = load(str(path))
    check_interpreters(settings)
    run_dir = Path(tempfile.mkdtemp(prefix="headrace-", dir=_short_temp_dir())) / "r"  # Ray opens its folder to all
    run_dir.mkdir()
    os.environ.pop("RAY_ADDRESS", None)
    try:
        os.environ |= one_machine(run_dir) | {CONFIG_ENV: str(path)}
        from serve_app.deployments.stack import Stack, application  # imports Ray, which reads the environment above
    except BaseException:  # an interrupt too: from here on it is the stack's to remove
        shutil.rmtree(run_dir.parent, ignore_errors=True)
        raise

    report.starting(graph, str(run_dir))
    stack = Stack(settings, run_dir, port or settings.gateway.port)
    failed = True
    try:
        app = application(graph)
        stack.start_ray()
        _take_signals()
        stack.deploy(app, graph, report)
        keys = settings.gateway
        report.ready(stack.url, stack.ray_address, needs_key=bool(keys.api_keys or keys.admin_keys))
        failed = False
        signal.pause()
    except KeyboardInterrupt:
        failed = False
        report.stopping()
    finally:
        _let_nothing_interrupt()
        stack.stop(report, keep_logs=failed)
    report.stopped()
    return 0


def _take_signals() -> None:
    """SIGTERM ends like Ctrl-C."""
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    """The first is heeded; what comes after it is ignored, since the end is bounded in time."""
    _let_nothing_interrupt()
    raise KeyboardInterrupt


def _forget_interrupts() -> None:
    """CPython exits as if killed by SIGINT once a KeyboardInterrupt has passed an `exec` of source text, caught or not.

    Dataclasses run such text while they are imported. The next `exec` clears the mark.
    """
    exec("")


def _follow(parent: int) -> None:
    """End with a parent that was killed and could pass no signal on."""
    while os.getppid() == parent:
        time.sleep(_PARENT_POLL_S)
    os.kill(os.getpid(), signal.SIGTERM)


def _let_nothing_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _short_temp_dir() -> str | None:
    """Unix socket paths hold about 100 characters and Ray adds 70, so `/tmp` is preferred to a long TMPDIR."""
    return "/tmp" if os.access("/tmp", os.W_OK) else None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m serve_app.deployments.launch", description=__doc__)
    parser.add_argument("--graph", default="production", help="a module of the package `graphs`")
    parser.add_argument("--config", help="settings: a path, or the name of a packaged profile")
    parser.add_argument("--port", type=int, help="instead of gateway.port")
    parser.add_argument("--parent", type=int, help="end, as if by Ctrl-C, when this parent process is gone")
    parser.add_argument("--json", action="store_true", help="print one JSON object per event")
    return parser


if __name__ == "__main__":
    sys.exit(main())
