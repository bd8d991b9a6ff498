"""`headrace serve`: checks what can be checked without Ray, then runs the launcher."""

import errno
import os
import pkgutil
import signal
import socket
import subprocess
import sys
from importlib.util import find_spec
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from serve_app.core import ConfigError

if TYPE_CHECKING:
    from serve_app.config import NodeSettings, Settings

_LAUNCHER = "serve_app.deployments.launch"  # a process of its own: the command line may not import Ray


def serve(
    graph: Annotated[
        str, typer.Option(help="Which graph: production, cascade, router, multi_lora, ensemble or rag.")
    ] = "production",
    config: Annotated[
        str | None, typer.Option(help="Settings: a path or a packaged profile; default: $HEADRACE_CONFIG, else demo.")
    ] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="HTTP port, instead of gateway.port.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per event.")] = False,
) -> None:
    """Run a graph on this machine until Ctrl-C; fetches models that are missing."""
    from serve_app.config import config_path, load
    from serve_app.config.nodes import check_server_keys

    path = config_path(config).absolute()
    settings = load(str(path))
    if graph not in (known := _graphs()):
        raise ConfigError(f"There is no graph {graph!r}; choose {', '.join(known)}.")
    check_server_keys(_nodes(graph, settings))  # replicas here inherit this environment
    _check_documents(graph, settings)
    _check_port(settings.gateway.host, port or settings.gateway.port)
    _pull_missing(_models(graph, settings))
    arguments = ["--graph", graph, "--config", str(path)]
    arguments += ["--port", str(port)] if port else []
    arguments += ["--json"] if as_json else []
    raise typer.Exit(_run_apart([sys.executable, "-m", _LAUNCHER, "--parent", str(os.getpid()), *arguments]))


def _run_apart(command: list[str]) -> int:
    """Run the launcher in a session of its own and return its exit code; Ctrl-C and SIGTERM are passed on to it alone.

    Whoever signals the whole process group (a terminal, `timeout`, a service manager) would otherwise end Ray's own
    processes before the launcher can stop them in order.
    """
    process = subprocess.Popen(command, start_new_session=True)

    def pass_on(signum: int, frame: FrameType | None) -> None:
        process.send_signal(signum)

    signal.signal(signal.SIGINT, pass_on)
    signal.signal(signal.SIGTERM, pass_on)
    return process.wait()


def _graphs() -> list[str]:
    """The modules of the package `graphs`, found without importing one."""
    spec = find_spec("graphs")
    folders = spec.submodule_search_locations if spec else None
    return [module.name for module in pkgutil.iter_modules(folders or [])]


def _models(graph: str, settings: "Settings") -> list[str]:
    """The models that the graph's nodes run; `fake` and foreign engines need none of ours."""
    models = [node.model for node in _nodes(graph, settings).values() if node.engine == "local"]
    encoders = [] if graph in ("cascade", "ensemble", "multi_lora", "rag") else [settings.router.encoder]
    if _has_documents(graph, settings):
        encoders.append(settings.rag.encoder)
    return [*models, *dict.fromkeys(encoders)]


def _has_documents(graph: str, settings: "Settings") -> bool:
    return graph == "rag" or settings.rag.enabled


def _nodes(graph: str, settings: "Settings") -> "dict[str, NodeSettings]":
    """The engine nodes of the graph, by their section of the settings."""
    nodes = {"specialists": settings.specialists}
    return nodes if graph in ("router", "multi_lora") else nodes | {"fallback": settings.fallback}


def _check_documents(graph: str, settings: "Settings") -> None:
    """Raises ConfigError without the extra `rag`, before the retriever's replicas fail one after another."""
    if _has_documents(graph, settings) and find_spec("lancedb") is None:
        raise ConfigError("Documents need packages that are not installed: `pip install 'headrace[rag]'`.")


def _pull_missing(models: list[str]) -> None:
    """Fetch what the catalogue has and this machine lacks, with progress bars; says nothing where all is there."""
    from serve_app import catalogue

    known = catalogue.entries()
    missing = [name for name in models if name in known and catalogue.state(known[name]) != "ready"]
    if not missing:
        return
    from serve_app.cli.pull_progress import PullProgress

    with PullProgress() as progress:
        for name in missing:
            catalogue.pull(name, progress)


def _check_port(host: str, port: int) -> None:
    """Raises ConfigError when somebody listens there, or the address is not this machine's."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                message = f"Port {port} of {host} is taken; stop what listens there or choose another with --port."
            else:
                message = f"Cannot listen on {host} port {port} ({error.strerror}); change gateway.host or --port."
            raise ConfigError(message) from error
