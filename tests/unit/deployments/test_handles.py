"""A handle cannot be told from the plain object behind it."""

import asyncio
import pickle
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from serve_app.core import (
    Answer,
    Attempt,
    Call,
    Delta,
    EngineError,
    Group,
    LedgerError,
    MemberDelta,
    Message,
    ModelNotFound,
    Overloaded,
    Query,
    ReplicaLost,
    RouteScore,
    SamplingParams,
    TokenStat,
    Usage,
)
from serve_app.deployments.handles import EngineHandle, LedgerHandle, RouterHandle
from serve_app.engines.fake import FakeAnswer, FakeEngine
from serve_app.streams import merged

CALL = Call("c1", SamplingParams(), (Message("user", "hi"),))
TOKEN = TokenStat(1, "a", -0.1, 0.2, 3.0, (("a", -0.1),))


async def test_a_finished_stream_is_the_engine_s_own_and_is_not_cancelled(plain_handle: Any) -> None:
    engine, handle = FakeEngine(), plain_handle(FakeEngine())
    through = [delta async for delta in EngineHandle(handle, "specialists").generate(CALL)]
    assert through == [delta async for delta in engine.generate(CALL)]
    assert not handle.responses[0].was_cancelled


async def test_closing_a_stream_cancels_the_remote_one(plain_handle: Any) -> None:
    handle = plain_handle(FakeEngine(default="one two three four"))
    async with aclosing(EngineHandle(handle, "specialists").generate(CALL)) as deltas:
        await anext(deltas)
    assert handle.responses[0].was_cancelled


class Lingering:
    """Its replica has something to do behind the last delta, and may fail at it."""

    def __init__(self, error: Exception | None = None) -> None:
        self.goes_on, self.ended, self._error = asyncio.Event(), asyncio.Event(), error

    async def generate(self, call: Call) -> AsyncIterator[Delta]:
        yield Delta("one", finish_reason="stop", usage=Usage(1, 0, 1))
        await self.goes_on.wait()
        self.ended.set()
        if self._error is not None:
            raise self._error


@pytest.mark.parametrize("error", [None, EngineError("too late")])
async def test_an_answer_ends_with_its_last_delta_and_its_stream_is_read_to_the_end_all_the_same(
    plain_handle: Any, error: Exception | None
) -> None:
    target = Lingering(error)
    handle = plain_handle(target)
    (delta,) = [delta async for delta in EngineHandle(handle, "specialists").generate(CALL)]
    assert delta.finish_reason == "stop"
    assert not handle.responses[0].was_cancelled
    target.goes_on.set()
    await target.ended.wait()


async def test_an_engine_s_error_arrives_after_the_deltas_before_it(plain_handle: Any) -> None:
    handle = plain_handle(FakeEngine(default=FakeAnswer("one two three", fail_after=2)))
    seen = []
    with pytest.raises(EngineError, match="after 2 tokens"):
        async for delta in EngineHandle(handle, "fallback").generate(CALL):
            seen.append(delta.text)
    assert seen == ["one", " two"]


async def test_an_unknown_adapter_stays_the_caller_s_mistake(plain_handle: Any) -> None:
    call = Call("c2", SamplingParams(), (Message("user", "hi"),), adapter="nobody")
    with pytest.raises(ModelNotFound):
        await anext(EngineHandle(plain_handle(FakeEngine()), "specialists").generate(call))


class Bundling(FakeEngine):
    """As a replica does: all that has come, at a time."""

    async def generate_group(self, group: Group) -> AsyncIterator[tuple[MemberDelta, ...]]:
        async with aclosing(merged([super().generate_group(group)])) as bundles:
            async for bundle in bundles:
                yield bundle


GROUP = Group((CALL, replace(CALL, adapter="nobody"), replace(CALL, call_id="c3")))


async def test_a_group_is_one_stream_and_is_not_cancelled_once_all_members_have_ended(plain_handle: Any) -> None:
    handle = plain_handle(Bundling())
    said = [one async for one in EngineHandle(handle, "specialists").generate_group(GROUP)]
    plain = [delta async for delta in FakeEngine().generate(CALL)]
    for member in (0, 2):
        assert [one.delta for one in said if one.member == member] == plain
    assert isinstance(next(one.error for one in said if one.member == 1), ModelNotFound)
    (response,) = handle.responses
    assert not response.was_cancelled


async def test_closing_a_group_cancels_the_remote_one_and_its_errors_arrive_as_themselves(plain_handle: Any) -> None:
    handle = plain_handle(Bundling(default="one two three four"))
    async with aclosing(EngineHandle(handle, "specialists").generate_group(GROUP)) as deltas:
        await anext(deltas)
    assert handle.responses[0].was_cancelled
    with pytest.raises(ModelNotFound):
        await anext(EngineHandle(handle, "specialists").generate_group(replace(GROUP, lock_step=True)))


class Stopping:
    """Its replica stops: Serve tells so by cancelling what waits for it."""

    async def generate(self, call: Call) -> AsyncIterator[Delta]:
        yield Delta("one", usage=Usage(1, 0, 1))
        raise asyncio.CancelledError

    async def score(self, conversation: tuple[Message, ...]) -> RouteScore:
        raise asyncio.CancelledError


async def test_a_call_that_its_replica_cancels_is_lost_and_one_that_we_cancel_is_cancelled(plain_handle: Any) -> None:
    with pytest.raises(ReplicaLost, match="specialists lost"):
        _ = [delta async for delta in EngineHandle(plain_handle(Stopping()), "specialists").generate(CALL)]
    with pytest.raises(ReplicaLost, match="router lost"):
        await RouterHandle(plain_handle(Stopping())).score((Message("user", "hi"),))
    engine = FakeEngine(default="one two", token_s=60)
    asking = asyncio.ensure_future(anext(EngineHandle(plain_handle(engine), "specialists").generate(CALL)))
    await asyncio.sleep(0)  # it has begun
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


class Left:
    """Its caller's client leaves: Serve cancels the call, and the query beside it, which takes some turns longer."""

    def __init__(self) -> None:
        self.asking: asyncio.Future[Any] | None = None

    async def generate(self, call: Call) -> AsyncIterator[Delta]:
        yield Delta("one", usage=Usage(1, 0, 1))
        self._leave(num_turns=8)
        raise asyncio.CancelledError

    def _leave(self, num_turns: int) -> None:
        assert self.asking is not None
        if not num_turns:
            self.asking.cancel()
        else:
            asyncio.get_running_loop().call_soon(self._leave, num_turns - 1)


async def test_a_call_that_serve_cancels_before_its_query_is_cancelled_and_not_lost(plain_handle: Any) -> None:
    target = Left()

    async def ask() -> None:
        async for _ in EngineHandle(plain_handle(target), "specialists").generate(CALL):
            pass

    target.asking = asyncio.ensure_future(ask())
    with pytest.raises(asyncio.CancelledError):
        await target.asking


class Broken:
    """Fails at everything, in ways that are not ours."""

    async def info(self) -> None:
        raise ZeroDivisionError("division by zero")

    async def score(self, conversation: tuple[Message, ...]) -> RouteScore:
        raise KeyError("label")

    async def record(self, answers: Sequence[Answer]) -> None:
        raise OSError("disk full")


async def test_a_foreign_error_becomes_the_node_s_own(plain_handle: Any) -> None:
    handle = plain_handle(Broken())
    with pytest.raises(EngineError, match="specialists failed"):
        await EngineHandle(handle, "specialists").info()
    with pytest.raises(EngineError, match="router failed"):
        await RouterHandle(handle).score((Message("user", "hi"),))
    with pytest.raises(LedgerError, match="disk full"):
        await LedgerHandle(handle).record([])


@pytest.mark.parametrize(
    "value",
    [
        CALL,
        Query("q", "auto", SamplingParams(seed=1, stop=("x",)), prompt="p"),
        Delta("a", (TOKEN,), "stop", Usage(1, 0, 1, 0.5), "v1"),
        RouteScore("legal", 0.9, {"legal": 0.9}),
        Answer("q", 1.0, "auto", "accepted", (Attempt("specialists", "m", None, "accepted", Usage(), 1.0),)),
    ],
)
def test_what_crosses_a_handle_survives_pickling(value: object) -> None:
    assert pickle.loads(pickle.dumps(value)) == value


def test_errors_survive_pickling_with_their_fields() -> None:
    error = pickle.loads(pickle.dumps(Overloaded("full", 7)))
    assert (str(error), error.retry_after_s) == ("full", 7)


async def test_a_full_ledger_is_a_ledger_error_like_any_other(plain_handle: Any) -> None:
    class Full:
        async def reclaim(self, gateway: str) -> int:
            raise Overloaded("Too many calls wait for ledger; try again in 1 s.", 1)

    with pytest.raises(LedgerError, match="Too many calls wait"):
        await LedgerHandle(plain_handle(Full())).reclaim("g1")


class AtOnce(FakeEngine):
    """All is there at once."""

    async def generate(self, call: Call) -> AsyncIterator[Delta]:
        for index, text in enumerate(("one", " two", " three")):
            yield Delta(text, finish_reason="stop" if index == 2 else None, usage=Usage(1, 0, index + 1))


async def test_deltas_that_are_there_together_cross_in_one_message(plain_handle: Any) -> None:
    handle = plain_handle(AtOnce())
    async with aclosing(EngineHandle(handle, "specialists").generate(CALL)) as deltas:
        first = await anext(deltas)
        assert [message async for message in handle.responses[0]] == []  # the first one had them all
        assert [first.text, *[delta.text async for delta in deltas]] == ["one", " two", " three"]
