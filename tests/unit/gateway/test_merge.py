"""Several streams as one."""

import asyncio
from contextlib import aclosing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.core import Delta, EngineError
from serve_app.gateway.merge import merged


async def words(texts, closed=None, pauses=()):
    try:
        for index, text in enumerate(texts):
            for _ in range(pauses[index % len(pauses)] if pauses else 0):
                await asyncio.sleep(0)
            yield Delta(text, finish_reason="stop" if index == len(texts) - 1 else None)
    finally:
        if closed is not None:
            closed.append(texts)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.text(max_size=3), min_size=1, max_size=6), min_size=1, max_size=5),
    st.lists(st.integers(0, 3), min_size=1, max_size=4),
)
def test_each_stream_keeps_its_order_and_nothing_is_lost(streams, pauses):
    async def collect():
        out = [[] for _ in streams]
        async for pieces in merged([words(texts, pauses=pauses) for texts in streams]):
            assert pieces
            for piece in pieces:
                out[piece.choice_index].append(piece.delta.text)
        return out

    assert asyncio.run(collect()) == streams


async def test_a_slow_reader_gets_longer_lists():
    sizes = []
    async for pieces in merged([words(["a", "b", "c", "d"])]):
        sizes.append(len(pieces))
        await asyncio.sleep(0)
    assert len(sizes) < 4
    assert sum(sizes) == 4


async def test_closing_closes_all_streams():
    closed = []
    async with aclosing(merged([words(["a"] * 99, closed, [1]), words(["b"] * 99, closed, [1])])) as ready:
        async for _ in ready:
            break
    assert len(closed) == 2


async def test_what_came_before_an_error_is_yielded_first():
    async def failing():
        yield Delta("a")
        raise EngineError("gone")

    seen = []
    with pytest.raises(EngineError, match="gone"):
        async for pieces in merged([failing()]):
            seen += [piece.delta.text for piece in pieces]
    assert seen == ["a"]


async def test_a_stream_that_cancels_itself_is_an_error_and_not_a_wait_without_end():
    async def cancelled():
        yield Delta("a")
        raise asyncio.CancelledError

    with pytest.raises(EngineError, match="broke off"):
        async with asyncio.timeout(5):
            async for _ in merged([cancelled(), words(["a"])]):
                pass
