"""The choices of a query: run at once, and sent as they come."""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass

from serve_app.core import Delta, EngineError
from serve_app.streams import merged


@dataclass(frozen=True, slots=True)
class Piece:
    """A delta of one choice."""

    choice_index: int
    delta: Delta


async def at_once(choices: Iterable[AsyncGenerator[Delta]]) -> AsyncGenerator[tuple[Piece, ...]]:
    """See `merged`. The first error is raised, and EngineError for a choice that ends without its last delta."""
    streams = (_pieces(index, choice) for index, choice in enumerate(choices))
    async with aclosing(merged(streams)) as bundles:
        async for bundle in bundles:
            yield bundle


async def alone(choice: AsyncGenerator[Delta]) -> AsyncGenerator[tuple[Piece, ...]]:
    """The same for a query with one choice, whose pieces nobody sends as they come: it takes no task of its own."""
    async with aclosing(_pieces(0, choice)) as pieces:
        async for piece in pieces:
            yield (piece,)


async def _pieces(index: int, choice: AsyncGenerator[Delta]) -> AsyncGenerator[Piece]:
    finished = False
    try:
        async with aclosing(choice):
            async for delta in choice:
                finished = delta.finish_reason is not None
                yield Piece(index, delta)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        finished = False  # it is the choice's own, as of an engine that stops: an error, and no client that left
    if not finished:
        raise EngineError("The engine broke off its answer; try again.")
