"""LocalEngine through its own thread, with a tiny model of random weights."""

import asyncio
import time
from dataclasses import replace

import pytest

from serve_app.catalogue import ModelFiles
from serve_app.core import AdapterError, EngineError, ModelNotFound, Overloaded, PromptTooLong, RequestError
from serve_app.engines.local import EngineOptions, LocalEngine


def text_of(deltas):
    return "".join(delta.text for delta in deltas)


def tokens_of(deltas):
    return [token.token_id for delta in deltas for token in delta.tokens]


FLOAT32 = EngineOptions(dtype="float32", max_context_tokens=256)


async def until_rows(engine, num_rows):
    for _ in range(2000):
        if (await engine.info()).active_rows == num_rows:
            return
        await asyncio.sleep(0.002)
    pytest.fail(f"the engine never had {num_rows} active rows")


async def test_answer_ends_with_a_reason_and_a_usage_that_counts_every_token(start, asking, reading):
    engine = await start()
    deltas = await reading(engine, asking(max_tokens=9))
    assert deltas[-1].finish_reason == "length" and all(delta.finish_reason is None for delta in deltas[:-1])
    assert deltas[-1].usage.completion_tokens == len(tokens_of(deltas)) == 9
    assert deltas[-1].usage.busy_s > 0
    assert deltas[-1].adapter_version is None


async def test_adapter_changes_the_answer_and_its_manifest_fills_the_gaps(start, spec, asking, reading):
    engine = await start()
    base, tuned = await reading(engine, asking(max_tokens=7)), await reading(engine, asking(adapter="legal"))
    assert tokens_of(base) != tokens_of(tuned)
    assert {delta.adapter_version for delta in tuned} == {spec.version}
    assert tuned[-1].usage.completion_tokens == 7, "max_tokens comes from the manifest"
    longer = tuned[-1].usage.prompt_tokens - base[-1].usage.prompt_tokens
    assert longer == len("<|im_start|>system\nbe exact<|im_end|>\n") - len("<|im_start|><|im_end|>") + 2
    explicit = await reading(engine, asking(adapter="legal", max_tokens=3))
    assert explicit[-1].usage.completion_tokens == 3, "the request's word goes first"


async def test_stop_string_ends_the_answer_before_it_and_what_it_costs_is_the_tokens_up_to_it(start, asking, reading):
    engine = await start()
    whole = await reading(engine, asking(max_tokens=40, temperature=1.0, seed=5))
    text = text_of(whole)
    stop = text[len(text) // 2 : len(text) // 2 + 3]
    cut = await reading(engine, asking(max_tokens=40, temperature=1.0, seed=5, stop=(stop,)))
    assert text_of(cut) == text[: text.find(stop)]
    assert cut[-1].finish_reason == "stop" and stop not in text_of(cut)
    assert tokens_of(cut) == tokens_of(whole)[: len(tokens_of(cut))]
    assert cut[-1].usage.completion_tokens == len(tokens_of(cut)) < 40


async def test_prompt_too_long_names_both_lengths_and_the_field(start, asking, reading):
    engine = await start(max_context_tokens=64)
    with pytest.raises(PromptTooLong, match=r"the prompt has \d+ tokens and the context holds 64") as error:
        await reading(engine, asking("x" * 100))
    assert (error.value.param, error.value.code) == ("messages", "context_length_exceeded")


async def test_answer_is_clipped_to_the_room_left_in_the_context(start, asking, reading):
    engine = await start(max_context_tokens=64)
    deltas = await reading(engine, asking("x" * 20, max_tokens=500))
    assert deltas[-1].usage.prompt_tokens + deltas[-1].usage.completion_tokens == 64
    assert deltas[-1].finish_reason == "length"


async def test_megabyte_prompt_is_refused_without_holding_up_the_event_loop(start, asking, reading):
    engine = await start()
    worst_s = 0.0

    async def watch():
        nonlocal worst_s
        while True:
            before_s = time.perf_counter()
            await asyncio.sleep(0.001)
            worst_s = max(worst_s, time.perf_counter() - before_s)

    watcher = asyncio.create_task(watch())
    with pytest.raises(PromptTooLong, match="at least"):
        await reading(engine, asking("word " * 200_000))
    watcher.cancel()
    assert worst_s < 0.2


async def test_unknown_adapter_is_named_together_with_the_known_ones(start, asking, reading):
    engine = await start()
    with pytest.raises(ModelNotFound, match=r"'medical'.*legal"):
        await reading(engine, asking(adapter="medical"))


@pytest.mark.parametrize(
    ("sampling", "param"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": -1.0}, "temperature"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"stop": ("",)}, "stop"),
    ],
)
async def test_sampling_out_of_range_names_the_field(start, asking, reading, sampling, param):
    engine = await start()
    with pytest.raises(RequestError) as error:
        await reading(engine, asking(**sampling))
    assert error.value.param == param


async def test_queue_full_is_overloaded_and_the_others_still_end(start, asking, reading):
    engine = await start(max_rows=1, max_waiting=1)
    calls = [reading(engine, asking(call_id=f"call-{index}", max_tokens=60)) for index in range(5)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    refused = [result for result in results if isinstance(result, Overloaded)]
    assert len(refused) == 3 and all(text_of(result) for result in results if result not in refused)


async def test_closing_the_iterator_frees_the_row(start, asking):
    engine = await start(max_rows=1)
    stream = engine.generate(asking(max_tokens=200))
    await anext(stream)
    await stream.aclose()
    await until_rows(engine, 0)


async def test_cancelled_task_frees_the_row(start, asking, reading):
    engine = await start(max_rows=1)
    task = asyncio.create_task(reading(engine, asking(max_tokens=200)))
    await until_rows(engine, 1)
    task.cancel()
    assert await reading(engine, asking(call_id="next", max_tokens=2))


async def test_slow_reader_gets_what_is_pending_as_one_delta(start, asking):
    engine = await start()
    stream = engine.generate(asking(max_tokens=30))
    first = await anext(stream)
    await until_rows(engine, 0)
    rest = [delta async for delta in stream]
    assert len(rest) == 1 and len(first.tokens) + len(rest[0].tokens) == 30
    assert rest[0].finish_reason == "length" and rest[0].usage.completion_tokens == 30


async def test_close_with_rows_in_flight_ends_them_with_an_error(start, asking, reading):
    engine = await start(max_rows=1)
    tasks = [asyncio.create_task(reading(engine, asking(call_id=f"{n}", max_tokens=10**4))) for n in range(3)]
    await until_rows(engine, 1)
    await engine.close()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert any(isinstance(result, EngineError) for result in results)
    with pytest.raises(EngineError, match="closed"):
        await reading(engine, asking())
    await engine.close()


async def test_raw_prompt_has_no_template(start, asking, reading):
    engine = await start()
    call = asking(max_tokens=2)
    raw = type(call)("raw", call.sampling, prompt="abc")
    assert (await reading(engine, raw))[-1].usage.prompt_tokens == 3
    with pytest.raises(RequestError, match="empty"):
        await reading(engine, type(call)("raw", call.sampling, prompt=""))
    with pytest.raises(RequestError, match="at least one message"):
        await reading(engine, type(call)("raw", call.sampling))


async def test_alternatives_are_reported_best_first(start, asking, reading):
    engine = await start()
    deltas = await reading(engine, asking(max_tokens=4, top_logprobs=5))
    for token in (token for delta in deltas for token in delta.tokens):
        assert len(token.top) == 5 and token.top[0][1] == pytest.approx(token.logprob)
        assert token.margin == pytest.approx(token.top[0][1] - token.top[1][1], abs=1e-6)


async def test_two_engines_behind_one_gate_both_answer(start, asking, reading):
    engines = [await start(gate_cores=1, threads=threads) for threads in (1, 2)]
    answers = await asyncio.gather(*(reading(engine, asking(max_tokens=20)) for engine in engines for _ in range(3)))
    assert all(deltas[-1].usage.completion_tokens == 20 for deltas in answers)


async def test_manifests_stop_strings_and_template_apply(start, spec, model_folder, asking, reading):
    whole = await reading(await start(), asking(adapter="legal"))
    stop = text_of(whole)[2:4]
    bare = spec.manifest.model_copy(update={"stop": [stop], "chat_template": "{{ messages[-1].content }}"})
    engine = LocalEngine(ModelFiles("tiny", model_folder, ""), [replace(spec, manifest=bare)], FLOAT32)
    await engine.start()
    deltas = await reading(engine, asking("hello", adapter="legal"))
    assert deltas[-1].usage.prompt_tokens == len("hello")
    stopping = spec.manifest.model_copy(update={"stop": [stop]})
    await engine.close()
    engine = LocalEngine(ModelFiles("tiny", model_folder, ""), [replace(spec, manifest=stopping)], FLOAT32)
    await engine.start()
    text = text_of(whole)
    assert text_of(await reading(engine, asking(adapter="legal"))) == text[: text.find(stop)]
    await engine.close()


async def test_manifest_with_a_broken_template_is_refused_at_start(spec, model_folder):
    wrong = spec.manifest.model_copy(update={"chat_template": "{% for %}"})
    engine = LocalEngine(ModelFiles("tiny", model_folder, ""), [replace(spec, manifest=wrong)], FLOAT32)
    with pytest.raises(AdapterError, match="adapter legal: the manifest's chat_template is wrong"):
        await engine.start()
    await engine.close()


async def test_engine_closed_or_cancelled_while_it_loads_ends(spec, model_folder):
    for stop_starting in (True, False):
        engine = LocalEngine(ModelFiles("tiny", model_folder, ""), [spec], FLOAT32)
        starting = asyncio.create_task(engine.start())
        await asyncio.sleep(0)
        if stop_starting:
            starting.cancel()
        await asyncio.wait_for(engine.close(), timeout=10)
        await asyncio.wait([starting])
        assert not engine._thread.is_alive()


async def test_engine_that_cannot_load_says_so_at_start_and_closes(spec, tmp_path):
    broken = LocalEngine(ModelFiles("nothing", tmp_path, ""), [spec], FLOAT32)
    with pytest.raises(EngineError, match="holds no model"):
        await broken.start()
    await broken.close()
    with pytest.raises(EngineError, match="not started"):
        await broken.info()
