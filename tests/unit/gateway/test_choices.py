"""The choices of a query as one stream."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.core import Delta, EngineError
from serve_app.gateway.choices import alone, at_once
from tests.properties import examples


async def words(texts, closed=None, pauses=()):
    try:
        for index, text in enumerate(texts):
            for _ in range(pauses[index % len(pauses)] if pauses else 0):
                await asyncio.sleep(0)
            yield Delta(text, finish_reason="stop" if index == len(texts) - 1 else None)
    finally:
        if closed is not None:
            closed.append(texts)


@settings(max_examples=examples(25), deadline=None)
@given(
    st.lists(st.lists(st.text(max_size=3), min_size=1, max_size=6), min_size=1, max_size=5),
    st.lists(st.integers(0, 3), min_size=1, max_size=4),
)
def test_each_stream_keeps_its_order_and_nothing_is_lost(streams, pauses):
    async def collect():
        out = [[] for _ in streams]
        async for pieces in at_once([words(texts, pauses=pauses) for texts in streams]):
            assert pieces
            for piece in pieces:
                out[piece.choice_index].append(piece.delta.text)
        return out

    assert asyncio.run(collect()) == streams


async def test_a_stream_that_cancels_itself_is_an_error_and_not_a_wait_without_end():
    async def cancelled():
        yield Delta("a")
        raise asyncio.CancelledError

    with pytest.raises(EngineError, match="broke off"):
        async with asyncio.timeout(30):
            async for _ in at_once([cancelled(), words(["a"])]):
                pass


async def test_a_choice_that_ends_without_its_last_delta_is_an_error():
    async def cut_short():
        yield Delta("a")

    with pytest.raises(EngineError, match="broke off"):
        _ = [pieces async for pieces in at_once([cut_short(), words(["a"])])]


async def test_a_choice_that_is_alone_comes_in_order_and_is_closed_with_its_reader():
    closed = []
    assert [piece.delta.text async for (piece,) in alone(words(["a", "b"], closed))] == ["a", "b"]
    pieces = alone(words(["c", "d"], closed))
    await anext(pieces)
    await pieces.aclose()
    assert closed == [["a", "b"], ["c", "d"]]


async def test_a_choice_that_is_alone_and_cancels_itself_is_an_error():
    async def cancelled():
        yield Delta("a")
        raise asyncio.CancelledError

    with pytest.raises(EngineError, match="broke off"):
        _ = [pieces async for pieces in alone(cancelled())]


async def test_a_reader_that_is_cancelled_is_cancelled_and_told_of_no_error():
    closed = []

    async def read():
        async for _ in at_once([words(["a"] * 99, closed, [9])]):
            pass

    reading = asyncio.create_task(read())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert len(closed) == 1
