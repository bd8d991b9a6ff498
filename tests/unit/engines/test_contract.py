"""What core.Engine promises, asked of every engine alike: what a test learns from the fake holds for the real one."""

from dataclasses import replace

import pytest

from serve_app.core import DeadlineExceeded, Engine, ModelNotFound, PromptTooLong
from serve_app.engines.fake import FakeEngine
from tests.unit.engines.openai_server import OpenAIServer


def scripted() -> FakeEngine:
    return FakeEngine(default="one two three four five six seven", adapters={"legal": "v1"}, max_context_tokens=128)


@pytest.fixture(params=["fake", "local", "remote", "gateway"])
async def engine(request, start, elsewhere, gateway) -> Engine:
    if request.param == "local":
        return await start(max_context_tokens=128)
    if request.param == "remote":
        return await elsewhere(OpenAIServer(scripted()).app(), adapters=["legal"])
    if request.param == "gateway":
        names = {"model": "base", "adapters": {"legal": "legal"}}
        return await elsewhere(gateway(small=scripted()).app, adapters=["legal"], server=names)
    return scripted()


async def test_only_the_last_delta_has_a_finish_reason_and_totals_only_grow(engine, asking, reading):
    deltas = await reading(engine, asking(max_tokens=5))
    assert [delta.finish_reason is not None for delta in deltas] == [False] * (len(deltas) - 1) + [True]
    totals = [delta.usage.completion_tokens for delta in deltas]
    assert totals == sorted(totals) and totals[-1] == sum(len(delta.tokens) for delta in deltas) == 5
    assert deltas[-1].finish_reason == "length"
    assert all(token.logprob <= 0 <= token.entropy and token.margin >= 0 for one in deltas for token in one.tokens)


async def test_same_greedy_call_gives_the_same_text_and_the_same_cost(engine, asking, reading):
    first, second = [await reading(engine, asking(max_tokens=6)) for _ in range(2)]
    assert "".join(one.text for one in first) == "".join(one.text for one in second)
    assert first[-1].usage.completion_tokens == second[-1].usage.completion_tokens


async def test_adapter_names_its_version_and_an_unknown_one_is_refused(engine, asking, reading):
    version = (await engine.info()).adapters["legal"]
    assert {delta.adapter_version for delta in await reading(engine, asking(adapter="legal"))} == {version}
    with pytest.raises(ModelNotFound) as error:
        await reading(engine, asking(adapter="nobody"))
    assert (error.value.param, error.value.code) == ("model", "model_not_found")


async def test_prompt_that_fills_the_context_is_refused_with_both_lengths(engine, asking, reading):
    with pytest.raises(PromptTooLong, match=r"the prompt has \d+ tokens and the context holds 128") as error:
        await reading(engine, asking("word " * 200))
    assert (error.value.param, error.value.code) == ("messages", "context_length_exceeded")


async def test_stop_string_is_not_part_of_the_answer(engine, asking, reading):
    text = "".join(one.text for one in await reading(engine, asking(max_tokens=7)))
    stop = text[3:5]
    deltas = await reading(engine, asking(max_tokens=7, stop=(stop,)))
    assert "".join(one.text for one in deltas) == text[: text.find(stop)] and deltas[-1].finish_reason == "stop"


async def test_closed_iterator_leaves_no_row_and_the_engine_answers_on(engine, asking, reading):
    stream = engine.generate(asking(max_tokens=50))
    await anext(stream)
    await stream.aclose()
    assert await reading(engine, asking(max_tokens=2))


async def test_call_out_of_time_fails_and_one_with_time_enough_is_answered(engine, asking, reading):
    with pytest.raises(DeadlineExceeded, match="time"):
        await reading(engine, replace(asking(max_tokens=50), timeout_s=0.0))
    assert (await engine.info()).active_rows == 0
    timed, untimed = [
        await reading(engine, replace(asking(max_tokens=5), timeout_s=at_most_s)) for at_most_s in (600, None)
    ]
    assert timed[-1].usage.completion_tokens == untimed[-1].usage.completion_tokens == 5
