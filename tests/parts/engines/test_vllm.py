"""VllmEngine around a scripted vLLM: places, deadlines, adapters, texts, errors. Of the real one: tests/models."""

import asyncio
import doctest
import os
import signal
import subprocess
import sys
from dataclasses import replace

import psutil
import pytest

from serve_app.adapters import load
from serve_app.config.nodes import NodeSettings
from serve_app.core import AdapterError, ConfigError, DeadlineExceeded, EngineError, Overloaded
from serve_app.engines.vllm import VllmEngine, shares
from serve_app.engines.vllm.arguments import room_for, set_environment


def text_of(deltas):
    return "".join(delta.text for delta in deltas)


def test_examples_in_the_docstrings_hold():
    result = doctest.testmod(shares)
    assert result.attempted and not result.failed


async def test_prompt_is_rendered_here_and_vllm_gets_token_ids_and_every_wish(start_vllm, spec, asking, reading):
    engine, llm = await start_vllm()
    await reading(engine, replace(asking(adapter="legal", temperature=0.5, top_p=0.9, seed=7), priority=2))
    prompt, wanted, priority = llm.asked[-1]
    text = llm.tokenizer.decode(prompt["prompt_token_ids"], skip_special_tokens=False)
    assert text.startswith("<|im_start|>system\nbe exact<|im_end|>\n<|im_start|>user\nhello")
    assert (wanted.temperature, wanted.top_p, wanted.seed, wanted.max_tokens) == (0.5, 0.9, 7, 7)
    assert wanted.stop_token_ids == [256, 258] and not wanted.detokenize
    assert priority == -2, "to vLLM lower goes first"


async def test_answer_ends_with_its_end_token_and_a_usage_that_counts_it(start_vllm, asking, reading):
    engine, _ = await start_vllm()
    deltas = await reading(engine, asking(max_tokens=100, top_logprobs=1))
    usage = deltas[-1].usage
    assert (
        deltas[-1].finish_reason == "stop" and text_of(deltas) == "The answer of the base model, which is long enough"
    )
    assert usage.completion_tokens == len(text_of(deltas)) + 1 and usage.cached_tokens == 3 and usage.busy_s > 0
    first, *_, end = [token for delta in deltas for token in delta.tokens]
    assert (first.text, first.logprob, first.top) == ("T", -0.1, (("T", -0.1),))
    assert end.text == "" and first.margin == pytest.approx(2.9) and 0.2 < first.entropy < 0.5
    info = await engine.info()
    assert (info.prompt_tokens, info.reused_tokens) == (usage.prompt_tokens, 3), "warm-up does not count"


async def test_stop_string_aborts_the_call_in_vllm_and_costs_the_tokens_up_to_it(start_vllm, asking, reading):
    engine, llm = await start_vllm()
    deltas = await reading(engine, asking(max_tokens=100, stop=("wer",)))
    assert text_of(deltas) == "The ans" and deltas[-1].finish_reason == "stop"
    assert deltas[-1].usage.completion_tokens == len("The answer")
    assert len(llm.aborted) == 1


async def test_closed_iterator_aborts_the_call_and_the_replica_is_followed(start_vllm, asking):
    engine, llm = await start_vllm()
    assert llm.calls == [("follow", (os.getpid(),))]
    stream = engine.generate(asking(max_tokens=20))
    await anext(stream)
    assert (await engine.info()).active_rows == 1
    await stream.aclose()
    assert len(llm.aborted) == 1 and (await engine.info()).active_rows == 0


async def test_calls_beyond_rows_and_queue_are_refused_and_late_ones_fail(start_vllm, asking, reading):
    engine, llm = await start_vllm(max_rows=1, max_waiting=1)
    llm.may_go.clear()
    first, waiting = [asyncio.create_task(reading(engine, asking())) for _ in range(2)]
    while (await engine.info()).waiting_calls < 1:  # noqa: ASYNC110  (of this there is no event)
        await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await reading(engine, asking())
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    with pytest.raises(DeadlineExceeded, match=r"within 0\.01 s"):
        await reading(engine, replace(asking(), timeout_s=0.01))
    llm.may_go.set()
    assert (await first)[-1].finish_reason


async def test_adapters_are_loaded_at_the_start_under_names_that_hold_their_versions(start_vllm, spec, make_adapter):
    other = load(make_adapter(1, rank=9), "other")
    engine, llm = await start_vllm([spec, other])
    assert [(one.lora_name, one.lora_int_id, one.lora_path) for one in llm.loaded] == [
        (f"legal@{spec.version}", 1, str(spec.path)),
        (f"other@{other.version}", 2, str(other.path)),
    ]
    keys = llm.config.keys
    assert (keys["enable_lora"], keys["max_loras"], keys["max_lora_rank"]) == (True, 4, 16)
    info = await engine.info()
    assert info.adapters == {"legal": spec.version, "other": other.version} and info.longest_answers == {"legal": 7}
    assert info.cache_bytes == 2 * 2 * 1 * 32 * 4 * 512 * (16 + 8), "the model's own context is the lower one"


async def test_version_that_is_dropped_is_unloaded_after_its_last_call(start_vllm, spec, make_adapter, asking, reading):
    engine, llm = await start_vllm()
    new = engine.read_adapter(make_adapter(), "legal", False)
    await engine.add_version(new)
    await engine.add_version(new)
    await engine.pin_version(new.version, True)
    assert [one.lora_int_id for one in llm.loaded] == [1, 2]
    under_way = engine.generate(asking(adapter="legal", max_tokens=6))
    await anext(under_way)
    await engine.set_live({"legal": new.version})
    await engine.drop_version("legal", spec.version)
    await asyncio.gather(*engine._unloads)
    assert llm.unloaded == []
    async for _ in under_way:
        pass
    await asyncio.gather(*engine._unloads)
    assert llm.unloaded == [1]
    await engine.add_version(spec)
    assert llm.loaded[-1].lora_int_id == 3, "vLLM may still be at work on the unloading of the first"


async def test_room_for_adapters_is_made_at_the_start(start_vllm, model, make_adapter):
    engine, _ = await start_vllm()
    with pytest.raises(AdapterError, match=r"no room for adapter big of rank 9 .* set max_adapter_rank"):
        await engine.add_version(load(make_adapter(rank=9), "big"))
    roomy, llm = await start_vllm([], max_adapter_rank=16, adapter_slots=3)
    keys = llm.config.keys
    assert (keys["max_lora_rank"], keys["max_loras"], keys["max_cpu_loras"]) == (16, 3, 3)
    await roomy.add_version(load(make_adapter(rank=9), "big"))
    bare, llm = await start_vllm([])
    assert "enable_lora" not in llm.config.keys
    with pytest.raises(AdapterError, match="set max_adapter_rank"):
        await bare.add_version(load(make_adapter(), "small"))


async def test_adapter_above_the_node_s_rank_is_refused(spec):
    with pytest.raises(AdapterError, match="legal has rank 4, above the node's max_adapter_rank 3"):
        room_for([spec], 3)
    assert room_for([spec], 64) == 8


@pytest.mark.parametrize(("fails", "said"), [("error", "the worker is gone"), ("abort", r"broke .* off \(abort\)")])
async def test_what_fails_in_vllm_is_an_engine_error(start_vllm, asking, reading, fails, said):
    engine, llm = await start_vllm()
    llm.fails = fails
    with pytest.raises(EngineError, match=said):
        await reading(engine, asking(max_tokens=9))
    assert (await engine.info()).active_rows == 0
    llm.errored = True
    with pytest.raises(EngineError, match="has died"):
        await engine.info()


async def test_start_that_fails_halfway_stops_vllm(start_vllm, monkeypatch):
    engine, llm = await start_vllm()

    async def refuses(self, lora):
        raise ValueError("target module k_proj is not supported")

    monkeypatch.setattr(type(llm), "add_lora", refuses)
    with pytest.raises(EngineError, match="cannot load adapter legal: target module"):
        await engine.start()
    assert llm.stopped == 0, "the first"
    with pytest.raises(EngineError, match="does not run"):
        await engine.info()


async def test_without_vllm_the_error_says_what_to_do(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(ConfigError, match=r"engine vllm needs an environment with vLLM .*`python`"):
        await VllmEngine(model, [], NodeSettings(model="tiny", engine="vllm"), 1).start()


def test_variables_that_are_set_are_left_alone(monkeypatch):
    monkeypatch.setattr(os, "environ", {"VLLM_HOST_IP": "10.0.0.1"})
    set_environment(3)
    assert os.environ["OMP_NUM_THREADS"] == "3" and os.environ["VLLM_HOST_IP"] == "10.0.0.1"


FOLLOWER = """
import os, subprocess, sys, time
from serve_app.engines.vllm.lifeline import Lifeline

if len(sys.argv) > 1:  # vLLM's engine process, with its worker in it
    Lifeline().follow(int(sys.argv[1]))
    print(os.getpid(), flush=True)
    time.sleep(600)
child = subprocess.Popen([sys.executable, __file__, str(os.getpid())], stdout=subprocess.PIPE, text=True)
print(child.stdout.readline(), flush=True)
os.kill(os.getpid(), 9)
"""


def test_processes_end_with_a_replica_that_was_killed(tmp_path, repo):
    script = tmp_path / "follower.py"
    script.write_text(FOLLOWER)
    environment = os.environ | {"PYTHONPATH": str(repo)}
    run = subprocess.run([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, timeout=60, env=environment)
    assert run.returncode == -signal.SIGKILL
    try:
        follower = psutil.Process(int(run.stdout))
        follower.wait(30)
    except psutil.NoSuchProcess:
        pass  # it has ended already
