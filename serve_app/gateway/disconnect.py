"""A client that goes away stops its query at once, streamed or not."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Send


async def until_disconnect(receive: Receive, work: Coroutine[Any, Any, None]) -> None:
    """Run `work`; when the client goes away, cancel it, wait until it has cleaned up, and return.

    A cancellation from outside, such as Ray Serve's, reaches `work` as well and is raised on.
    """
    task = asyncio.current_task()
    assert task is not None, "called outside of a task"
    num_cancelled_before = task.cancelling()
    left = False

    def leave(_: object) -> None:
        nonlocal left
        left = True
        task.cancel()

    watcher = asyncio.create_task(_disconnected(receive))
    watcher.add_done_callback(leave)
    try:
        await work
    except ClientDisconnect:
        return
    except asyncio.CancelledError:
        if not left or task.cancelling() > num_cancelled_before + 1:
            raise
    finally:
        watcher.remove_done_callback(leave)
        if left:
            task.uncancel()
        watcher.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def send_or_leave(send: Send, message: Message) -> None:
    """Send; a server that says the client is gone with an OSError raises ClientDisconnect here."""
    try:
        await send(message)
    except OSError:
        raise ClientDisconnect from None
