"""The nodes of the settings in this process, with no Ray: for a command that needs them once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from serve_app.config.nodes import AdapterSource, NodeSettings
from serve_app.config.routing import RouterSettings
from serve_app.core import ConfigError, Engine, Router


@asynccontextmanager
async def running(node: NodeSettings, adapters: Mapping[str, AdapterSource], threads: int) -> AsyncIterator[Engine]:
    """The started engine of a node, closed at the end. Raises ConfigError for an engine that is not ours.

    Only one of them computes at a time here, so that none waits for the other's cores.
    """
    from serve_app.engines.backends import backend
    from serve_app.engines.local import LocalEngine
    from serve_app.engines.remote import RemoteEngine

    if node.engine not in ("local", "openai", "fake"):
        raise ConfigError(f"The engine {node.engine!r} runs in a graph only: start that, and name it with --url.")
    engine = await backend(node.engine)(node.model_copy(update={"gate_cores": None}), adapters, threads)
    try:
        yield engine
    finally:
        if isinstance(engine, LocalEngine | RemoteEngine):
            await engine.close()


def router(settings: RouterSettings) -> Router:
    """The configured router, with the pre-router where there is one. Raises CatalogueError without its encoder."""
    from serve_app.confidence import gain
    from serve_app.patterns.prerouter import PreRouter
    from serve_app.router.conversation import last_text
    from serve_app.router.load import load_router

    loaded = load_router(settings, threads=1)
    if settings.gain is None:
        return loaded
    return PreRouter(loaded, gain.read(Path(settings.gain), loaded.encoder_digest), last_text)
