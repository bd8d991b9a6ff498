"""A handle cannot be told from the plain object behind it."""

import pickle
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

import pytest

from serve_app.core import (
    Answer,
    Attempt,
    Call,
    Delta,
    EngineError,
    LedgerError,
    Message,
    ModelNotFound,
    Overloaded,
    Query,
    RouteScore,
    SamplingParams,
    TokenStat,
    Usage,
)
from serve_app.deployments.handles import EngineHandle, LedgerHandle, RouterHandle
from serve_app.engines.fake import FakeAnswer, FakeEngine

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
