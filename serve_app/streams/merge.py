"""Several streams as one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import TypeVar

T = TypeVar("T")


async def merged(streams: Iterable[AsyncGenerator[T]]) -> AsyncGenerator[tuple[T, ...]]:
    """All that has come since the last one was read, in the order it came, as soon as something has; never empty.

    So a slow reader gets longer ones, not more of them. Each stream is read by a task of its own. What a stream raises,
    its own CancelledError too, is raised after all that came before it. Then, and when this is closed, all streams are
    closed before it returns.
    """
    said: list[T] = []
    news = asyncio.Event()
    tasks = [asyncio.create_task(_read(stream, said, news)) for stream in streams]
    try:
        while True:
            ended = [task for task in tasks if task.done()]  # before what was said is taken: theirs is all there
            bundle = tuple(said)
            said.clear()
            if bundle:
                yield bundle
            for task in ended:
                task.result()
            if len(ended) == len(tasks):
                return
            await news.wait()
            news.clear()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _read(stream: AsyncGenerator[T], said: list[T], news: asyncio.Event) -> None:
    try:
        async with aclosing(stream):
            async for one in stream:
                said.append(one)
                news.set()
    finally:
        news.set()
