"""Several streams as one."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from serve_app.streams import merged


async def words(text: str, closed: list[str] | None = None, pauses: int = 0) -> AsyncGenerator[str]:
    try:
        for word in text.split():
            for _ in range(pauses):
                await asyncio.sleep(0)
            yield word
    finally:
        if closed is not None:
            closed.append(text)


async def failing(error: BaseException) -> AsyncGenerator[str]:
    yield "a"
    raise error


async def test_a_slow_reader_gets_longer_bundles() -> None:
    sizes = []
    async for bundle in merged([words("a b c d")]):
        sizes.append(len(bundle))
        await asyncio.sleep(0)
    assert len(sizes) < 4
    assert sum(sizes) == 4


async def test_no_streams_end_at_once() -> None:
    assert [bundle async for bundle in merged([])] == []


async def test_closing_closes_all_streams() -> None:
    closed: list[str] = []
    async with aclosing(merged([words("a " * 99, closed, 1), words("b " * 99, closed, 1)])) as bundles:
        async for _ in bundles:
            break
    assert len(closed) == 2


@pytest.mark.parametrize("error", [ValueError("gone"), asyncio.CancelledError()])
async def test_what_came_before_an_error_comes_first_and_the_other_streams_are_closed(error: BaseException) -> None:
    closed: list[str] = []
    seen: list[str] = []
    with pytest.raises(type(error)):
        async for bundle in merged([failing(error), words("b " * 99, closed, 1)]):
            seen += bundle
    assert "a" in seen
    assert len(closed) == 1
