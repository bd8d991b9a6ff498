"""Work that a replica does beside its calls, for as long as it lives."""

import asyncio
from collections.abc import Coroutine
from typing import Any


class Background:
    """Tasks that end with the replica. For one event loop."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def started(self) -> bool:
        """Whether there are any."""
        return bool(self._tasks)

    def start(self, *work: Coroutine[Any, Any, None]) -> None:
        """Begin each; none is meant to return before `stop`."""
        self._tasks += [asyncio.create_task(one) for one in work]

    def check(self) -> None:
        """Raises what one of them has died of, so that Serve replaces the replica."""
        for task in self._tasks:
            if task.done() and not task.cancelled() and (error := task.exception()):
                raise error

    async def stop(self) -> None:
        """Cancel all, and wait until they have ended."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
