"""LocalEngine through its own thread, with a tiny model of random weights."""

import asyncio
import itertools
import shutil
import time
from dataclasses import replace

import pytest
from tokenizers import Tokenizer

from serve_app.catalogue import ModelFiles
from serve_app.core import (
    AdapterError,
    ConfigError,
    DeadlineExceeded,
    EngineError,
    ModelNotFound,
    Overloaded,
    PromptTooLong,
    RequestError,
)
from serve_app.engines.local import EngineOptions, LocalEngine

from .conftest import DEFAULTS


def text_of(deltas):
    return "".join(delta.text for delta in deltas)


def tokens_of(deltas):
    return [token.token_id for delta in deltas for token in delta.tokens]


OPTIONS = EngineOptions(**DEFAULTS)


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
    assert (await engine.info()).longest_answers == {"legal": 7}, "budgets set that much aside"
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


async def test_token_without_an_embedding_fails_its_own_call_alone(model_folder, tmp_path, asking, reading):
    folder = shutil.copytree(model_folder, tmp_path / "model")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_special_tokens(["<|pad|>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    engine = LocalEngine(ModelFiles("tiny", folder, ""), [], OPTIONS)
    await engine.start()
    try:
        other = asyncio.create_task(reading(engine, asking(max_tokens=100)))
        with pytest.raises(RequestError, match=r"was not made for the token '<\|pad\|>'"):
            await reading(engine, asking("hello<|pad|>"))
        assert text_of(await other)
    finally:
        await engine.close()


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


async def test_manifests_stop_strings_and_template_apply(start, spec, model, asking, reading):
    whole = await reading(await start(), asking(adapter="legal"))
    stop = text_of(whole)[2:4]
    bare = spec.manifest.model_copy(update={"stop": [stop], "chat_template": "{{ messages[-1].content }}"})
    engine = LocalEngine(model, [replace(spec, manifest=bare)], OPTIONS)
    await engine.start()
    deltas = await reading(engine, asking("hello", adapter="legal"))
    assert deltas[-1].usage.prompt_tokens == len("hello")
    stopping = spec.manifest.model_copy(update={"stop": [stop]})
    await engine.close()
    engine = LocalEngine(model, [replace(spec, manifest=stopping)], OPTIONS)
    await engine.start()
    text = text_of(whole)
    assert text_of(await reading(engine, asking(adapter="legal"))) == text[: text.find(stop)]
    await engine.close()


async def test_manifest_with_a_broken_template_is_refused_at_start(spec, model):
    wrong = spec.manifest.model_copy(update={"chat_template": "{% for %}"})
    engine = LocalEngine(model, [replace(spec, manifest=wrong)], OPTIONS)
    with pytest.raises(AdapterError, match="adapter legal: the manifest's chat_template is wrong"):
        await engine.start()
    await engine.close()


async def test_engine_closed_or_cancelled_while_it_loads_ends(spec, model):
    for stop_starting in (True, False):
        engine = LocalEngine(model, [spec], OPTIONS)
        starting = asyncio.create_task(engine.start())
        await asyncio.sleep(0)
        if stop_starting:
            starting.cancel()
        await asyncio.wait_for(engine.close(), timeout=10)
        await asyncio.wait([starting])
        assert not engine._thread.is_alive()


async def test_engine_that_cannot_load_says_so_at_start_and_closes(spec, tmp_path):
    broken = LocalEngine(ModelFiles("nothing", tmp_path, ""), [spec], OPTIONS)
    with pytest.raises(EngineError, match="holds no model"):
        await broken.start()
    await broken.close()
    with pytest.raises(EngineError, match="not started"):
        await broken.info()


async def test_call_out_of_time_fails_mid_answer_and_frees_its_row(start, asking, reading):
    engine = await start(max_rows=1, max_context_tokens=512)
    ticks = itertools.count()
    begun_s = time.monotonic()
    engine._running.loop._clock = lambda: begun_s + next(ticks)  # a step takes a second
    late = []
    with pytest.raises(DeadlineExceeded, match="its answer was not finished within the time given"):
        async for delta in engine.generate(replace(asking(max_tokens=400), timeout_s=60)):
            late.append(delta)
    assert 0 < len(tokens_of(late)) < 100 and late[-1].finish_reason is None
    await until_rows(engine, 0)
    assert len(tokens_of(await reading(engine, asking(max_tokens=100)))) == 100, "without a limit it takes its time"


async def test_call_out_of_time_fails_while_it_waits_and_the_others_are_answered(
    start, asking, reading, beginning, stopped
):
    engine = await start(max_rows=1)
    with stopped(engine):
        first = await beginning(engine, asking(call_id="first", max_tokens=5))
        hurried = await beginning(engine, replace(asking(call_id="hurried"), timeout_s=0.0))
        patient = await beginning(engine, asking(call_id="patient", max_tokens=5))
    with pytest.raises(DeadlineExceeded, match="its turn did not come within the time given"):
        await hurried
    assert len(tokens_of(await first)) == len(tokens_of(await patient)) == 5


async def order_of_answers(engine, beginning, stopped, calls):
    """Call ids in the order in which one row answers them; the first call is begun before the others come."""
    ended = []
    with stopped(engine):
        for call in calls:
            task = await beginning(engine, call)
            task.add_done_callback(lambda _, name=call.call_id: ended.append(name))
    await until_rows(engine, 0)
    for _ in range(100):
        if len(ended) == len(calls):
            break
        await asyncio.sleep(0.002)
    return ended


async def test_higher_priority_goes_first_whoever_came_first(start, asking, beginning, stopped):
    engine = await start(max_rows=1)
    calls = [
        replace(asking(call_id=name, max_tokens=4), priority=priority)
        for name, priority in (("begun", 0), ("low", -1), ("middle", 0), ("high", 5))
    ]
    assert await order_of_answers(engine, beginning, stopped, calls) == ["begun", "high", "middle", "low"]


async def test_flood_of_one_key_leaves_the_next_turn_to_another(start, asking, beginning, stopped):
    engine = await start(max_rows=1)
    calls = [replace(asking(call_id=f"flood-{n}", max_tokens=4), key_id="flood") for n in range(4)]
    calls.append(replace(asking(call_id="other", max_tokens=4), key_id="other"))
    assert (await order_of_answers(engine, beginning, stopped, calls))[1] == "other"


async def test_what_a_prompt_has_in_common_with_an_earlier_one_is_reused_and_reported(start, asking, reading):
    engine = await start(prefix_slots=4)
    first = await reading(engine, asking("once upon a time there was a king " * 3, max_tokens=6))
    again = await reading(engine, asking("once upon a time there was a king " * 3, max_tokens=6))
    assert tokens_of(again) == tokens_of(first)
    assert first[-1].usage.cached_tokens == 0
    assert again[-1].usage.cached_tokens == again[-1].usage.prompt_tokens - 1, "the last token's logits are needed"
    longer = await reading(engine, asking("once upon a time there was a king " * 3 + "and a queen", max_tokens=6))
    assert 100 < longer[-1].usage.cached_tokens < longer[-1].usage.prompt_tokens
    tuned = await reading(engine, asking("once upon a time there was a king " * 3, adapter="legal"))
    assert tuned[-1].usage.cached_tokens == 0, "keys and values depend on the adapter"
    info, usages = await engine.info(), [deltas[-1].usage for deltas in (first, again, longer, tuned)]
    assert info.prompt_tokens == sum(usage.prompt_tokens for usage in usages)
    assert info.reused_tokens == sum(usage.cached_tokens for usage in usages)
    assert info.cached_tokens >= longer[-1].usage.prompt_tokens
    assert info.cache_bytes == (16 + 4) * 256 * 2 * 2 * 1 * 32 * 4  # slots, tokens, layers, K and V, heads, dim, bytes


async def test_draft_and_small_steps_change_no_answer(start, asking, reading):
    calls = [asking("tell me " * n, f"{n}", (None, "legal")[n % 2], max_tokens=24) for n in range(1, 7)]
    plain = await start()
    expected = [tokens_of(await reading(plain, call)) for call in calls]
    for options in ({"draft_tokens": 4, "max_rows": 2}, {"step_tokens": 17}, {"cache_mb": 1}, {"prefix_slots": 0}):
        engine = await start(**options)
        answers = await asyncio.gather(*(reading(engine, call) for call in calls))
        assert [tokens_of(deltas) for deltas in answers] == expected, options


async def test_cache_bound_makes_fewer_rows_and_all_are_answered(start, asking, reading):
    engine = await start(cache_mb=1)
    assert (await engine.info()).cache_bytes <= 1 << 20
    answers = await asyncio.gather(*(reading(engine, asking(call_id=f"{n}", max_tokens=9)) for n in range(20)))
    assert all(len(tokens_of(deltas)) == 9 for deltas in answers)


@pytest.mark.skipif(shutil.which("g++") is None, reason="native kernels need g++")
async def test_native_and_plain_kernels_give_the_same_answers(start, asking, reading):
    calls = [asking("tell me " * n, f"{n}", (None, "legal")[n % 2], max_tokens=24) for n in range(1, 7)]
    answers = []
    for kernels in ("native", "plain"):
        engine = await start(kernels=kernels)
        assert engine._running.assembly.kernels == kernels
        deltas = await asyncio.gather(*(reading(engine, call) for call in calls))
        answers.append([tokens_of(one) for one in deltas])
    assert answers[0] == answers[1]


async def test_engine_without_a_compiler_says_so_in_its_log_and_answers(
    start, asking, reading, monkeypatch, tmp_path, caplog
):
    monkeypatch.setenv("HEADRACE_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    engine = await start()
    assert "install g++" in caplog.text and engine._running.assembly.kernels == "plain"
    assert len(tokens_of(await reading(engine, asking(max_tokens=3)))) == 3
    with pytest.raises(ConfigError, match="kernels = native cannot be had here: no C\\+\\+ compiler was found"):
        await start(kernels="native")
