"""What the scripted engine promises to the tests of others."""

import asyncio
from dataclasses import replace

import pytest

from serve_app.core import (
    Call,
    DeadlineExceeded,
    EngineError,
    Message,
    ModelNotFound,
    Overloaded,
    PromptTooLong,
    SamplingParams,
)
from serve_app.engines.fake import FakeAnswer, FakeEngine


def ask(text="hello", call_id="call", adapter=None, **sampling):
    return Call(call_id, SamplingParams(**sampling), (Message("user", text),), adapter=adapter)


async def read(engine, call):
    return [delta async for delta in engine.generate(call)]


async def test_script_is_looked_up_by_last_user_message_then_adapter_then_default():
    engine = FakeEngine({"hello": "good day to you", "legal": "it depends"}, adapters={"legal": "v1"})
    assert [delta.text for delta in await read(engine, ask())] == ["good", " day", " to", " you"]
    tuned = await read(engine, ask("other", adapter="legal"))
    assert "".join(delta.text for delta in tuned) == "it depends" and tuned[-1].adapter_version == "v1"
    assert "".join(delta.text for delta in await read(engine, ask("other"))) == "a scripted answer"
    assert [call.call_id for call in engine.calls] == engine.finished == ["call"] * 3


async def test_script_may_be_a_function_of_the_call_and_set_confidence_per_token():
    engine = FakeEngine(lambda call: FakeAnswer("a b c", logprob=[-1.0, -2.0], margin=0.5))
    deltas = await read(engine, ask(top_logprobs=2))
    assert [delta.tokens[0].logprob for delta in deltas] == [-1.0, -2.0, -2.0]
    assert deltas[0].tokens[0].top[0] == ("a", -1.0) and deltas[0].tokens[0].margin == 0.5
    assert [delta.usage.completion_tokens for delta in deltas] == [1, 2, 3]


async def test_max_tokens_and_stop_are_honoured():
    engine = FakeEngine(default="one two three four")
    short = await read(engine, ask(max_tokens=2))
    assert (short[-1].text, short[-1].finish_reason, len(short)) == (" two", "length", 2)
    cut = await read(engine, ask(stop=("three",)))
    assert "".join(delta.text for delta in cut) == "one two " and cut[-1].finish_reason == "stop"


async def test_answer_that_is_empty_still_ends_with_one_delta():
    deltas = await read(FakeEngine(default=""), ask())
    assert [(delta.text, delta.finish_reason) for delta in deltas] == [("", "stop")]


@pytest.mark.parametrize("fail_after", [0, 1, 2])
async def test_fault_comes_after_that_many_tokens_and_nothing_is_finished(fail_after):
    engine = FakeEngine(default=FakeAnswer("one two", fail_after=fail_after))
    seen = []
    with pytest.raises(EngineError, match=f"after {fail_after} tokens"):
        async for delta in engine.generate(ask()):
            seen.append(delta)
    assert len(seen) == fail_after and not engine.finished
    assert all(delta.finish_reason is None for delta in seen)


async def test_closed_iterator_and_cancelled_task_are_recorded():
    engine = FakeEngine(token_s=0.001, default="one two three four five")
    stream = engine.generate(ask(call_id="closed"))
    await anext(stream)
    await stream.aclose()
    task = asyncio.create_task(read(engine, ask(call_id="cancelled")))
    await asyncio.sleep(0.002)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine.cancelled == ["closed", "cancelled"] and (await engine.info()).active_rows == 0


async def test_what_a_real_engine_refuses_is_refused():
    engine = FakeEngine(max_context_tokens=3, max_calls=1, default="x y z")
    with pytest.raises(ModelNotFound, match="medical"):
        await read(engine, ask(adapter="medical"))
    with pytest.raises(PromptTooLong, match="4 tokens and the context holds 3"):
        await read(engine, ask("one two three four"))
    stream = engine.generate(ask())
    await anext(stream)
    with pytest.raises(Overloaded):
        await read(engine, ask())
    await stream.aclose()


@pytest.mark.parametrize(("timeout_s", "num_sent"), [(0.015, 0), (0.025, 1), (0.065, 5)])
async def test_timeout_counts_the_waits_of_the_script_and_not_the_clock(timeout_s, num_sent):
    engine = FakeEngine(default="one two three four five six", first_token_s=0.01, token_s=0.01)
    seen = []
    with pytest.raises(DeadlineExceeded, match=f"within {timeout_s} s"):
        async for delta in engine.generate(replace(ask(), timeout_s=timeout_s)):
            seen.append(delta)
    assert len(seen) == num_sent and not engine.finished and (await engine.info()).active_rows == 0
    assert len(await read(engine, replace(ask(), timeout_s=0.075))) == 6
