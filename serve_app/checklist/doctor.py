"""Whether this machine can run a graph: what it has, and what it lacks. For `headrace doctor`."""

from __future__ import annotations

import os
import resource
import shutil
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import psutil

from serve_app.catalogue import cache_dir, entries
from serve_app.catalogue.cache import ready_files
from serve_app.checklist.item import Finding
from serve_app.checklist.machines import this_machine
from serve_app.config import Settings
from serve_app.config.nodes import check_server_keys
from serve_app.core import ConfigError

_GIB = 2**30
_LEAST_MEMORY, _LEAST_WITHOUT_MODELS, _LEAST_DISK = 6 * _GIB, 3 * _GIB, 4 * _GIB
_CONTAINER = Path("/sys/fs/cgroup/memory.max")
"""Where a container's limit stands; `max`, or no such file: there is none."""
_LEAST_SHARED = _GIB // 4
_LEAST_FILES, _ENOUGH_FILES = 4096, 65_536
_PACKAGES = ("ray", "torch", "transformers", "onnxruntime", "fastapi")


@dataclass(frozen=True, slots=True)
class Symptom:
    """One thing about the machine."""

    name: str
    finding: Finding


def examine(settings: Settings) -> list[Symptom]:
    """Everything in order; changes nothing, and opens a port for a moment."""
    looks: dict[str, Callable[[Settings], Finding]] = {
        "python": _python,
        "packages": _packages,
        "cores": _cores,
        "memory": _memory,
        "shared memory": _shared_memory,
        "disk": _disk,
        "open files": _open_files,
        "port": _port,
        "gpu": _gpu,
        "compiler": _compiler,
        "models": _models,
        "documents": _documents,
        "keys of servers": _server_keys,
    }
    return [Symptom(name, look(settings)) for name, look in looks.items()]


def _python(settings: Settings) -> Finding:
    said = f"Python {sys.version.split()[0]} at {sys.executable}."
    return Finding.good(said)  # an older one cannot have installed Headrace


def _packages(settings: Settings) -> Finding:
    found, missing = [], []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        return Finding.fail(f"{', '.join(missing)} is missing.", "Install again: pip install -e .")
    return Finding.good(f"{', '.join(found)}.")


def _cores(settings: Settings) -> Finding:
    cores = len(os.sched_getaffinity(0))
    busy = os.getloadavg()[0]
    said = f"{cores} CPU cores, load {busy:.1f}."
    if cores < 2:
        return Finding.warn(said, "The engines take turns on one core: answers come slowly. Give it two.")
    if busy > cores:
        return Finding.warn(said, "Something else is at work: the first answers come slowly.")
    return Finding.good(said)


def _memory(settings: Settings) -> Finding:
    memory, limit = psutil.virtual_memory(), _container_limit()
    total, available = (
        (memory.total, memory.available)
        if limit is None
        else (
            min(memory.total, limit),
            min(memory.available, limit),
        )
    )
    said = f"{available / _GIB:.1f} of {total / _GIB:.1f} GiB are free."
    runs_models = any(node.engine in ("local", "vllm") for node in (settings.specialists, settings.fallback))
    least = _LEAST_MEMORY if runs_models else _LEAST_WITHOUT_MODELS
    if available < least:
        what = "two small models, Ray and the nodes" if runs_models else "Ray and the nodes"
        return Finding.fail(said, f"Free {least // _GIB} GiB: {what} take it.")
    return Finding.good(said)


def _container_limit() -> int | None:
    """Bytes that the container may use; None: it may use all that there is."""
    try:
        text = _CONTAINER.read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None


def _shared_memory(settings: Settings) -> Finding:
    folder = Path("/dev/shm")
    if not folder.is_dir():
        return Finding.warn("There is no /dev/shm.", "Ray uses a file in its place, which is slower.")
    free = shutil.disk_usage(folder).free
    said = f"{free / _GIB:.1f} GiB are free in /dev/shm."
    if free < _LEAST_SHARED:
        return Finding.warn(said, "In a container raise it: docker run --shm-size=1g.")
    return Finding.good(said)


def _disk(settings: Settings) -> Finding:
    folder = cache_dir()
    there = next(one for one in (folder, *folder.parents) if one.exists())
    free = shutil.disk_usage(there).free
    said = f"{free / _GIB:.1f} GiB are free for models in {folder}."
    if not os.access(there, os.W_OK):
        return Finding.fail(f"{there} cannot be written to.", "Name another folder: HEADRACE_CACHE=DIR.")
    if free < _LEAST_DISK:
        return Finding.fail(said, f"Free {_LEAST_DISK // _GIB} GiB, or name another folder: HEADRACE_CACHE=DIR.")
    return Finding.good(said)


def _open_files(settings: Settings) -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    said = f"A process may open {soft:,} files."
    if soft < _LEAST_FILES:
        wanted = _ENOUGH_FILES if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH_FILES)
        return Finding.warn(said, f"Ray wants more under load: ulimit -n {wanted}")
    return Finding.good(said)


def _port(settings: Settings) -> Finding:
    host, port = settings.gateway.host, settings.gateway.port
    try:
        with socket.create_server((host, port)):
            return Finding.good(f"{host}:{port} is free.")
    except OSError as error:
        said = f"{host}:{port} cannot be had ({error.strerror})."
        return Finding.fail(said, "Stop what listens there, or take another: headrace serve --port 8001.")


def _gpu(settings: Settings) -> Finding:
    count = int(this_machine().num_gpus)
    if not count:
        return Finding.good("No NVIDIA GPU; the engines run on the CPU.")
    return Finding.good(f"{count} NVIDIA GPU(s); give shares of them in deployments.*.num_gpus.")


def _compiler(settings: Settings) -> Finding:
    found = shutil.which("g++")
    if found is None:
        return Finding.warn("There is no g++.", "Install it: the CPU engine is about half as fast without its kernels.")
    return Finding.good(f"{found} compiles the engine's kernels at the first start.")


def _models(settings: Settings) -> Finding:
    known = entries()
    nodes = [node.model for node in (settings.specialists, settings.fallback) if node.engine in ("local", "vllm")]
    named = {*nodes, settings.router.encoder, *([settings.rag.encoder] if settings.rag.enabled else [])}
    wanted = sorted(named & known.keys())
    missing = [name for name in wanted if ready_files(known[name]) is None]
    if missing:
        return Finding.warn(f"{', '.join(missing)} must be pulled.", f"headrace models pull {' '.join(missing)}")
    if not wanted:
        return Finding.not_applicable("The settings name no model of the catalogue.")
    return Finding.good(f"{', '.join(wanted)} are here.")


def _documents(settings: Settings) -> Finding:
    if not settings.rag.enabled:
        return Finding.not_applicable("rag.enabled is false.")
    if find_spec("lancedb") is None:
        return Finding.fail("What keeps documents is not installed.", "Install it: pip install 'headrace[rag]'.")
    return Finding.good("What keeps documents is installed.")


def _server_keys(settings: Settings) -> Finding:
    try:
        num_keys = check_server_keys({"specialists": settings.specialists, "fallback": settings.fallback})
    except ConfigError as error:
        return Finding.fail(str(error), "Set that environment variable before the start.")
    if num_keys == 0:
        return Finding.not_applicable("No server of others is asked with a key.")
    return Finding.good(f"{num_keys} are set in the environment.")
