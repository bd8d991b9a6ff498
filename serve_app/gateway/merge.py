"""Several streams as one: the choices of a query run at once and are sent as they come."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from serve_app.core import Delta, EngineError


@dataclass(frozen=True, slots=True)
class Piece:
    """A delta of one choice."""

    choice_index: int
    delta: Delta


@dataclass(frozen=True, slots=True)
class _End:
    """A stream is over; `error` says why it broke off."""

    error: Exception | None


async def merged(streams: Sequence[AsyncGenerator[Delta]]) -> AsyncGenerator[list[Piece]]:
    """Yield whatever is there, in the order it came: a slow reader gets longer lists, not more of them.

    The first error is raised here. On an error, and when this is closed, all streams are closed before it returns.
    """
    queue: asyncio.Queue[Piece | _End] = asyncio.Queue()
    tasks = [asyncio.create_task(_pump(index, stream, queue)) for index, stream in enumerate(streams)]
    num_open = len(tasks)
    try:
        while num_open:
            items = [await queue.get()]
            while not queue.empty():
                items.append(queue.get_nowait())
            if pieces := [item for item in items if isinstance(item, Piece)]:
                yield pieces
            for item in items:
                if isinstance(item, _End):
                    if item.error is not None:
                        raise item.error
                    num_open -= 1
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pump(index: int, stream: AsyncGenerator[Delta], queue: asyncio.Queue[Piece | _End]) -> None:
    finished = False
    try:
        async with aclosing(stream):
            async for delta in stream:
                finished = delta.finish_reason is not None
                queue.put_nowait(Piece(index, delta))
        queue.put_nowait(_End(None) if finished else _broken_off())
    except asyncio.CancelledError:
        queue.put_nowait(_broken_off())  # it may be the stream's own, as of an engine that stops: nobody must wait then
        raise
    except Exception as error:
        queue.put_nowait(_End(error))


def _broken_off() -> _End:
    return _End(EngineError("The engine broke off its answer; try again."))
