"""An answer that has to come in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from serve_app.core import DeadlineExceeded, Delta


async def in_time(deltas: AsyncGenerator[Delta], deadline_s: float | None, too_late: str) -> AsyncGenerator[Delta]:
    """Pass the deltas on, and close their iterator at the end, whatever ends this one.

    `deadline_s`: by the event loop's clock, None waits without end; raises DeadlineExceeded with the words `too_late`.
    """
    async with aclosing(deltas):
        while True:
            try:
                async with asyncio.timeout_at(deadline_s) as time_left:
                    delta = await anext(deltas, None)
            except TimeoutError:
                if not time_left.expired():
                    raise
                raise DeadlineExceeded(too_late) from None
            if delta is None:
                return
            yield delta
