"""The local engine on real models: right text, right end, and PEFT's own tokens from a mixed batch."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import warnings
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from serve_app import adapters
from serve_app.catalogue import ModelFiles
from serve_app.core import Call, Delta, Group, Message, PromptTooLong, SamplingParams
from serve_app.engines.local import EngineOptions, LocalEngine
from serve_app.engines.prompt import PromptEncoder

SMALL = "smollm2-135m-instruct"
LARGE = "qwen2.5-coder-0.5b-instruct"
QUESTIONS = (
    "What is the capital of France?",
    "Name three symptoms of a cold.",
    "What does a landlord owe a tenant?",
    "List the files in this folder, newest first.",
)
ISA = "ONEDNN_MAX_CPU_ISA"
TIE_NATS = 2e-3
"""Two tokens whose log-probabilities differ by less are a numerical tie: the order of float32 sums decides."""


def ask(text: str, adapter: str | None = None, max_tokens: int = 32) -> Call:
    return Call(
        f"call-{text}-{adapter}", SamplingParams(max_tokens=max_tokens), (Message("user", text),), adapter=adapter
    )


async def read(engine: LocalEngine, call: Call) -> list[Delta]:
    return [delta async for delta in engine.generate(call)]


def text_of(deltas: Sequence[Delta]) -> str:
    return "".join(delta.text for delta in deltas)


def ids_of(deltas: Sequence[Delta]) -> list[int]:
    return [token.token_id for delta in deltas for token in delta.tokens]


@contextmanager
def peft_on_transformers_5() -> Iterator[None]:
    """PEFT reads an attribute that transformers 5 warns about."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)
        yield


@pytest.fixture
async def start() -> AsyncIterator[Callable[..., Any]]:
    """Starts engines and closes them after the test."""
    engines: list[LocalEngine] = []

    async def starter(files: ModelFiles, specs: Sequence[adapters.AdapterSpec] = (), **options: Any) -> LocalEngine:
        engines.append(LocalEngine(files, specs, EngineOptions(**{"max_context_tokens": 512, **options})))
        await engines[-1].start()
        return engines[-1]

    yield starter
    await asyncio.gather(*(engine.close() for engine in engines))


@pytest.mark.parametrize("alias", [SMALL, LARGE])
async def test_chat_answer_is_right_ends_by_itself_and_shows_no_mark_of_the_template(alias, model_files, start):
    engine = await start(model_files(alias))
    deltas = await read(engine, ask(QUESTIONS[0]))
    assert "Paris" in text_of(deltas) and "<|" not in text_of(deltas)
    assert deltas[-1].finish_reason == "stop"
    assert deltas[-1].tokens[-1].text == "" and deltas[-1].usage.completion_tokens == len(ids_of(deltas)) < 32


@pytest.mark.parametrize("alias", [SMALL, LARGE])
def test_prompt_is_the_models_own_template(alias, model_files):
    tokenizer = AutoTokenizer.from_pretrained(model_files(alias).path)
    ids = tokenizer.apply_chat_template([{"role": "user", "content": QUESTIONS[1]}], add_generation_prompt=True)
    assert list(PromptEncoder(model_files(alias).path).encode(ask(QUESTIONS[1]), None, 512)) == ids["input_ids"]


@pytest.mark.parametrize("alias", [SMALL, LARGE])
def test_prompt_longer_than_the_context_names_both_lengths(alias, model_files):
    encoder = PromptEncoder(model_files(alias).path)
    with pytest.raises(PromptTooLong, match=r"the prompt has \d{3} tokens and the context holds 64"):
        encoder.encode(ask("Tell me more about it. " * 40), None, 64)


RANDOM: dict[str, dict[str, Any]] = {
    "random-narrow": {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]},
    "random-wide": {"r": 32, "lora_alpha": 16, "use_rslora": True, "target_modules": "all-linear"},
    "random-inner": {"r": 9, "lora_alpha": 9, "target_modules": ["k_proj", "o_proj", "down_proj"]},
}
"""Name -> fields of LoraConfig, which PEFT changes when it is used."""


def random_adapters(files: ModelFiles, folder: Path) -> dict[str, Path]:
    """Name -> folder: adapters of random weights and several ranks, scalings and targets."""
    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_pretrained(files.path, dtype=torch.float32)
    (first, config), *others = RANDOM.items()
    with peft_on_transformers_5():
        model = get_peft_model(base, LoraConfig(**config), adapter_name=first)
        for name, config in others:
            model.add_adapter(name, LoraConfig(**config))
    for key, parameter in model.named_parameters():
        if "lora_B" in key:
            torch.nn.init.normal_(parameter, std=0.02)
    model.save_pretrained(folder)
    for name in RANDOM:
        written = json.loads((folder / name / "adapter_config.json").read_text())
        written["base_model_name_or_path"] = files.alias
        (folder / name / "adapter_config.json").write_text(json.dumps(written))
    return {name: folder / name for name in RANDOM}


@pytest.mark.parametrize("alias", [SMALL, LARGE])
async def test_mixed_batch_gives_each_row_the_greedy_tokens_of_peft(alias, model_files, tmp_path, start):
    files = model_files(alias)
    tuned = random_adapters(files, tmp_path)
    if alias == SMALL:  # what the shipped adapters were trained on
        tuned |= {name: adapters.shipped(name) for name in adapters.shipped_names()}
    specs = [adapters.load(path, name) for name, path in tuned.items()]
    engine = await start(files, specs, dtype="float32")
    names = [None, *tuned]
    calls = [ask(question, name, 16) for question, name in zip(QUESTIONS * 2, names, strict=False)]
    rows = await asyncio.gather(*(read(engine, call) for call in calls))
    prompts = {call.call_id: engine._running.encoder.encode(call, manifest_of(specs, call), 512) for call in calls}
    assert len(rows) == len(names)
    await engine.close()
    del engine
    base = AutoModelForCausalLM.from_pretrained(files.path, dtype=torch.float32)
    assert_follows(base, prompts[calls[0].call_id], ids_of(rows[0]))
    first, *others = tuned
    with peft_on_transformers_5():
        reference = PeftModel.from_pretrained(base, tuned[first], adapter_name=first).eval()
        for name in others:
            reference.load_adapter(tuned[name], adapter_name=name)
    for call, row in zip(calls[1:], rows[1:], strict=True):
        reference.set_adapter(call.adapter)
        assert_follows(reference, prompts[call.call_id], ids_of(row))


async def test_prompt_that_comes_again_reuses_its_prefix_and_gives_the_same_tokens(model_files, start):
    name = adapters.shipped_names()[0]
    engine = await start(model_files(SMALL), [adapters.load(adapters.shipped(name), name)], dtype="float32")
    for adapter in (None, name):
        first, second = [await read(engine, ask(QUESTIONS[2], adapter)) for _ in range(2)]
        assert ids_of(first) == ids_of(second)
        usage = second[-1].usage
        assert first[-1].usage.cached_tokens == 0, "another adapter's keys and values are of no use"
        assert usage.cached_tokens == usage.prompt_tokens - 1
    info = await engine.info()
    assert info.reused_tokens >= usage.cached_tokens and info.cached_tokens > 0


async def test_members_of_a_group_answer_as_alone_and_those_in_lock_step_as_one(model_files, start):
    specs = [adapters.load(adapters.shipped(name), name) for name in adapters.shipped_names()]
    engine = await start(model_files(SMALL), specs, dtype="float32", draft_tokens=0)
    calls = [ask(QUESTIONS[1], spec.name, 12) for spec in specs]
    alone = [ids_of(await read(engine, call)) for call in calls]
    together = [ids_of(deltas) for deltas in await read_group(engine, Group(tuple(calls)))]
    assert together == alone
    first, *others = [ids_of(deltas) for deltas in await read_group(engine, Group(tuple(calls), lock_step=True))]
    assert first and all(other == first for other in others)
    nearly = Group(tuple(calls), lock_step=True, weights=(1e-9, 1.0, 1e-9, 1e-9))
    assert ids_of((await read_group(engine, nearly))[1])[: len(alone[1])] == alone[1]


async def read_group(engine: LocalEngine, group: Group) -> list[list[Delta]]:
    said: list[list[Delta]] = [[] for _ in group.calls]
    async for one in engine.generate_group(group):
        assert one.delta is not None
        said[one.member].append(one.delta)
    return said


async def test_guessing_ahead_changes_no_token(model_files, start):
    call = ask("Repeat three times: the quick brown fox jumps over the lazy dog.", max_tokens=48)
    answers = []
    for draft_tokens in (0, 4):
        engine = await start(model_files(SMALL), dtype="float32", draft_tokens=draft_tokens)
        answers.append(await read(engine, call))
        await engine.close()
    assert ids_of(answers[0]) == ids_of(answers[1]) and text_of(answers[0]) == text_of(answers[1])


def manifest_of(specs: Sequence[adapters.AdapterSpec], call: Call) -> adapters.AdapterManifest | None:
    return next((spec.manifest for spec in specs if spec.name == call.adapter), None)


def assert_follows(model: Any, prompt: Sequence[int], answer: Sequence[int]) -> None:
    """Each token of `answer` is the one that `model` finds most likely after what came before, or tied with it."""
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([[*prompt, *answer]])).logits[0, len(prompt) - 1 : -1]
    logprobs = torch.log_softmax(logits.float(), dim=-1)
    chosen = logprobs.gather(1, torch.tensor(answer)[:, None])[:, 0]
    assert float((logprobs.max(dim=-1).values - chosen).max()) < TIE_NATS


async def test_streamed_pieces_are_the_decoded_tokens(model_files, start):
    engine = await start(model_files(SMALL))
    deltas = await read(engine, ask("Repeat exactly: née, 水, 🌊", max_tokens=24))
    tokenizer = AutoTokenizer.from_pretrained(model_files(SMALL).path)
    assert tokenizer.decode(ids_of(deltas), skip_special_tokens=True).rstrip("�") == text_of(deltas)


@pytest.mark.parametrize("alias", [SMALL, LARGE])
async def test_bfloat16_answer_is_bit_for_bit_the_same_alone_in_a_crowd_and_from_a_reused_prefix(
    alias, model_files, start, request
):
    """With AMX the promise is of the instructions before it (docs/engine.md)."""
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("this processor has no bfloat16 products in oneDNN")
    if torch.cpu._is_amx_tile_supported() and ISA not in os.environ:  # oneDNN reads it once in a process
        run_apart(request.node.nodeid, {ISA: "AVX512_CORE_BF16"})
        return
    engine = await start(model_files(alias), dtype="bfloat16", linear="packed", kernels="native", draft_tokens=0)
    alone = await read(engine, ask(QUESTIONS[1]))
    again = await read(engine, ask(QUESTIONS[1]))
    crowd = await asyncio.gather(*(read(engine, ask(question)) for question in QUESTIONS))
    await engine.close()
    guessing = await start(model_files(alias), dtype="bfloat16", linear="packed", kernels="native", draft_tokens=7)
    drafted = await read(guessing, ask(QUESTIONS[1]))
    assert again[-1].usage.cached_tokens > 0
    for other in (again, crowd[1], drafted):
        assert ids_of(other) == ids_of(alone)
        assert logprobs_of(other) == logprobs_of(alone)


def run_apart(test: str, environment: Mapping[str, str]) -> None:
    """This test in a process of its own; it must pass there, not skip."""
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout
    assert "1 passed" in ended.stdout


def logprobs_of(deltas: Sequence[Delta]) -> list[float]:
    return [token.logprob for delta in deltas for token in delta.tokens]
