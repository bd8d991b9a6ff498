"""What a router's replica loads late is loaded once, however many calls need it at the same time."""

import asyncio
import threading

import pytest

from serve_app.core import CatalogueError
from serve_app.deployments.router import OneLoad


async def test_calls_that_come_during_the_first_load_share_it() -> None:
    num_loads, let_go = 0, threading.Event()

    def load() -> str:
        nonlocal num_loads
        num_loads += 1
        assert let_go.wait(30)
        return "the encoder"

    once = OneLoad(load)
    waiting = [asyncio.create_task(once.get()) for _ in range(5)]
    await asyncio.sleep(0)
    let_go.set()
    assert await asyncio.gather(*waiting) == ["the encoder"] * 5
    assert await once.get() == "the encoder" and num_loads == 1


async def test_a_load_that_failed_is_tried_again() -> None:
    outcomes = iter([CatalogueError("it is not here"), "the encoder"])

    def load() -> str:
        found = next(outcomes)
        if isinstance(found, CatalogueError):
            raise found
        return found

    once = OneLoad(load)
    with pytest.raises(CatalogueError, match="not here"):
        await once.get()
    assert await once.get() == "the encoder"
