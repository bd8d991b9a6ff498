"""How long a query may take: what the client asks for, and the end of a query that nobody else ends."""

import asyncio
import math
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeVar

from serve_app.core import DeadlineExceeded, Query, ReplicaLost, RequestError
from serve_app.patterns import Trace

TIMEOUT_HEADER = "x-headrace-timeout-s"
_GRACE_S = 0.1
"""What an engine has beyond the time it was given: its own word on it knows better what was used."""

T = TypeVar("T")


def timeout_s(header: str | None, most_s: float) -> float:
    """The seconds that a query may take. Raises RequestError for a header that is no positive number.

    >>> timeout_s("2.5", 300.0), timeout_s("1e9", 300.0), timeout_s(None, 300.0)
    (2.5, 300.0, 300.0)
    """
    if header is None:
        return most_s
    try:
        asked_s = float(header)
    except ValueError:
        asked_s = math.nan
    if not 0 < asked_s < math.inf:
        raise RequestError(
            f"{TIMEOUT_HEADER} is not a positive number of seconds; send one such as 30, or leave it out.",
            TIMEOUT_HEADER,
            "invalid_value",
        )
    return min(asked_s, most_s)


def exceeded(query: Query) -> DeadlineExceeded:
    """The query's time is up."""
    return DeadlineExceeded(
        f"The query was not answered within {query.timeout_s:g} s; allow more with {TIMEOUT_HEADER}, as far as the "
        "server does, or ask for a shorter answer."
    )


class Alarm:
    """Ends what a query waits for when its time is up. One timer, however many steps: each one is `with alarm: …`.

    A step that is under way then is cancelled, cleans up, and leaves as DeadlineExceeded, and so does one whose replica
    is lost when there is no time for another. One that needs not wait gets done, also later: what is there is given.
    """

    def __init__(self, trace: Trace) -> None:
        """Set for the time that the query has left. Call `close` when all is done."""
        self._trace, self._loop = trace, asyncio.get_running_loop()
        self._task: asyncio.Task[object] | None = None
        """Who is in a step."""
        self._num_cancelled_before = 0
        self._rang = self._has_cancelled = False
        left_s = trace.left_s
        self._timer = None if left_s is None else self._loop.call_later(left_s + _GRACE_S, self._ring)

    def close(self) -> None:
        """It does not ring any more."""
        if self._timer is not None:
            self._timer.cancel()

    def __enter__(self) -> None:
        self._task = task = asyncio.current_task()
        self._num_cancelled_before = task.cancelling() if task else 0
        if self._rang:
            self._loop.call_soon(self._ring)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        task, self._task = self._task, None
        is_over = isinstance(error, ReplicaLost) and self._trace.is_late  # with more time another one would answer
        if task is not None and self._has_cancelled:
            self._has_cancelled = False
            is_over |= task.uncancel() <= self._num_cancelled_before and kind is asyncio.CancelledError
        if is_over:
            raise exceeded(self._trace.query) from None

    def _ring(self) -> None:
        self._rang = True
        if self._task is not None and not self._has_cancelled:  # a step that is over may have asked for a second ring
            self._has_cancelled = True
            self._task.cancel()


async def in_time(source: AsyncGenerator[T], alarm: Alarm) -> AsyncGenerator[T]:
    """`source`, until the query's time is up: DeadlineExceeded is raised then, and `source` is closed."""
    async with aclosing(source):
        while True:
            try:
                with alarm:
                    item = await anext(source)
            except StopAsyncIteration:
                return
            yield item
