"""The result of one call over a handle. Imports no more than an engine's replica has."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from serve_app.core import HeadraceError
from serve_app.deployments.errors import lost, unwrapped

T = TypeVar("T")

_TURNS = 10
_TURN_S = 0.02


async def result(response: Awaitable[T], node: str, kind: type[HeadraceError]) -> T:
    """Await one call; its error is raised as itself."""
    try:
        return await response
    except Exception as error:
        raise unwrapped(error, node, kind) from error
    except asyncio.CancelledError as error:
        if await is_ours():
            raise
        raise lost(node, kind) from error


async def is_ours() -> bool:
    """Whether the running task is being cancelled; else it is the callee's replica that stops.

    When a client leaves, Serve cancels all calls that its request has made, and the request beside them, whose word
    has to come down through the tasks in between: so it is waited for, some turns of the loop and a moment. Meanwhile
    this raises the cancellation itself.
    """
    task = asyncio.current_task()
    if task is None or task.cancelling():
        return True
    for _ in range(_TURNS):
        await asyncio.sleep(_TURN_S)
    return False
