"""Gateways over scripted engines, served over HTTP."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn

from tests.unit.gateway.conftest import World


@pytest.fixture
def serving() -> Iterator[Callable[..., tuple[str, World]]]:
    """Serves gateways over HTTP on loopback, from threads: a world's fields -> its URL, and the world."""
    servers: list[tuple[uvicorn.Server, threading.Thread]] = []

    def serve(**fields: Any) -> tuple[str, World]:
        listener = socket.create_server(("127.0.0.1", 0))
        worlds: list[World] = []

        async def main() -> None:
            worlds.append(World(**fields))
            config = uvicorn.Config(worlds[0].app, log_level="error", lifespan="off")
            server = uvicorn.Server(config)
            servers.append((server, thread))
            await server.serve([listener])
            await worlds[0].close()

        thread = threading.Thread(target=lambda: asyncio.run(main()))
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        while not servers or not servers[-1][0].started:
            time.sleep(0.01)
        return url, worlds[0]

    yield serve
    for server, thread in servers:
        server.should_exit = True
        thread.join()
