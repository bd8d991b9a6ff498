"""How many calls are under way at once, and who is next. For one event loop."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from serve_app.core import Overloaded


class Places:
    """`max_rows` calls at once; `max_waiting` more wait, by priority and then by arrival."""

    def __init__(self, max_rows: int, max_waiting: int) -> None:
        self._max_rows, self._max_waiting = max_rows, max_waiting
        self._queue: list[tuple[int, int, asyncio.Future[None]]] = []
        self._serial = itertools.count()
        self.num_active = 0

    @property
    def num_waiting(self) -> int:
        """Calls in the queue."""
        return len(self._queue)

    @asynccontextmanager
    async def place(self, priority: int) -> AsyncIterator[None]:
        """Hold a place. Raises Overloaded when the queue is full."""
        if self.num_active < self._max_rows:
            self.num_active += 1
        else:
            await self._wait(priority)
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, priority: int) -> None:
        if self.num_waiting >= self._max_waiting:
            raise Overloaded(
                f"{self._max_rows} calls are under way and {self.num_waiting} wait; try again later.", retry_after_s=1
            )
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._queue, (-priority, next(self._serial), place))
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():  # the place came together with the cancellation
                self._pass_on()
            else:
                self._queue = [one for one in self._queue if one[2] is not place]
                heapq.heapify(self._queue)
            raise

    def _pass_on(self) -> None:
        """Give the place to the next one in the queue, if anybody still waits."""
        while self._queue:
            _, _, place = heapq.heappop(self._queue)
            if not place.done():
                place.set_result(None)
                return
        self.num_active -= 1
