"""The engines of the bench, in its settings as `engine: bench.affinity.engines:...`, and what they write down."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serve_app.config.nodes import AdapterSource, NodeSettings
from serve_app.core import Engine
from serve_app.engines.backends import backend
from serve_app.engines.fake import FakeEngine

NOTES_ENV = "HEADRACE_BENCH_NOTES"
"""Environment variable: folder of the notes."""
_NOTE_S = 0.1
_tasks: set[asyncio.Task[None]] = set()


async def noted(node: NodeSettings, adapters: Mapping[str, AdapterSource], threads: int) -> Engine:
    """The local engine; how many adapters it loaded so far is written to a file of the application and process."""
    from ray import serve  # not before the switches are in the environment

    engine = await backend("local")(node, adapters, threads)
    file = Path(os.environ[NOTES_ENV]) / f"{serve.get_replica_context().app_name}-{os.getpid()}"
    task = asyncio.create_task(_note(engine, file))
    _tasks.add(task)
    return engine


async def _note(engine: Engine, file: Path) -> None:
    while True:
        await asyncio.to_thread(file.write_text, str((await engine.info()).adapter_loads))
        await asyncio.sleep(_NOTE_S)


def loads(folder: Path, app: str) -> int:
    """Adapters loaded so far by all replicas of an application."""
    return sum(int(file.read_text() or 0) for file in folder.glob(f"{app}-*"))


class Door:
    """The ingress of an application: Serve takes no request router for that one. Nobody calls it."""

    def __init__(self, specialists: Any) -> None:
        self._specialists = specialists

    def __call__(self) -> str:
        return "ask the specialists"


async def scripted(node: NodeSettings, adapters: Mapping[str, AdapterSource], threads: int) -> Engine:
    """One word at once."""
    return FakeEngine(default="word", adapters={name: f"{name}-1" for name in adapters})
