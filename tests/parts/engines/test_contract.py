"""What core.Engine promises, asked of every engine alike: what a test learns from the fake holds for the real one."""

from dataclasses import replace

import pytest

from serve_app.core import DeadlineExceeded, Engine, EngineError, ModelNotFound, PromptTooLong
from serve_app.engines.fake import FakeEngine
from serve_app.engines.versions import AdapterHost
from tests.parts.engines.openai_server import OpenAIServer

HOSTS = ("fake", "local", "vllm")
"""Engines whose adapters are held here."""


def scripted() -> FakeEngine:
    return FakeEngine(default="one two three four five six seven", adapters={"legal": "v1"}, max_context_tokens=128)


@pytest.fixture(params=["fake", "local", "vllm", "remote", "gateway"])
async def engine(request, start, start_vllm, elsewhere, gateway) -> Engine:
    if request.param == "local":
        return await start(max_context_tokens=128)
    if request.param == "vllm":
        return (await start_vllm(max_context_tokens=128))[0]
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


async def test_version_that_is_named_answers_and_another_is_refused(engine, asking, reading):
    version = (await engine.info()).adapters["legal"]
    named = replace(asking(adapter="legal", max_tokens=3), adapter_version=version)
    assert {delta.adapter_version for delta in await reading(engine, named)} == {version}
    with pytest.raises(ModelNotFound, match=r"legal.*version.*nothing") as error:
        await reading(engine, replace(named, adapter_version="nothing"))
    assert (error.value.param, error.value.code) == ("model", "model_not_found")
    assert {one.adapter_version for one in await reading(engine, replace(named, adapter_version=None))} == {version}


@pytest.mark.parametrize("engine", HOSTS, indirect=True)
async def test_versions_come_and_go_beside_each_other(engine, make_adapter, asking, reading):
    assert isinstance(engine, AdapterHost)

    async def versions(wanted=None, name="legal"):
        call = replace(asking(adapter=name, max_tokens=3), adapter_version=wanted)
        return {delta.adapter_version for delta in await reading(engine, call)}

    old = (await engine.info()).adapters["legal"]
    new, same = [engine.read_adapter(make_adapter(), name, False) for name in ("legal", "other")]
    await engine.add_version(new)
    await engine.add_version(same)
    assert await versions() == await versions(old) == {old} and await versions(new.version) == {new.version}
    with pytest.raises(ModelNotFound):
        await versions(name="other")
    with pytest.raises(EngineError, match="add it first"):
        await engine.set_live({"legal": "nothing"})
    await engine.set_live({"legal": new.version})
    assert (await engine.info()).adapters == {"legal": new.version}
    assert await versions() == {new.version} and await versions(old) == {old}
    under_way = engine.generate(replace(asking(adapter="legal", max_tokens=6), adapter_version=old))
    begun = [await anext(under_way)]
    for _ in range(2):  # again is a no-op
        await engine.drop_version("legal", old)
        await engine.drop_version("legal", new.version)
    assert {one.adapter_version for one in begun + [delta async for delta in under_way]} == {old}
    for version in (old, new.version):
        with pytest.raises(ModelNotFound):
            await versions(version)
    assert await versions(same.version, "other") == {same.version}, "the same files under another name"
    assert not (await engine.info()).adapters


@pytest.mark.parametrize("engine", HOSTS, indirect=True)
async def test_pins_come_and_go(engine, asking, reading):
    version = (await engine.info()).adapters["legal"]
    for pinned in (True, True, False):
        await engine.pin_version(version, pinned)
    assert await reading(engine, asking(adapter="legal", max_tokens=2))


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


OF_EVERY_ENGINE = {
    name: test for name, test in list(globals().items()) if name.startswith("test_") and not hasattr(test, "pytestmark")
}
"""Name -> test, for those who run them by hand: all but those that HOSTS alone are asked."""
OF_A_HOST = OF_EVERY_ENGINE | {"test_pins_come_and_go": test_pins_come_and_go}
"""The same for an engine that holds its adapters; the versions' test needs adapters that are made for its model."""
