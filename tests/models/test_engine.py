"""The local engine on real models: right text, right end, and PEFT's own tokens from a mixed batch."""

from __future__ import annotations

import asyncio
import json
import warnings
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from serve_app import adapters
from serve_app.catalogue import ModelFiles
from serve_app.core import Call, Delta, Message, PromptTooLong, SamplingParams
from serve_app.engines.local import EngineOptions, LocalEngine
from serve_app.engines.local.prompt import PromptEncoder

SMALL = "smollm2-135m-instruct"
LARGE = "qwen2.5-coder-0.5b-instruct"
QUESTIONS = (
    "What is the capital of France?",
    "Name three symptoms of a cold.",
    "What does a landlord owe a tenant?",
    "List the files in this folder, newest first.",
)
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


@pytest.fixture(scope="module")
def tuned(model_files: Callable[[str], ModelFiles], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Name -> folder: the shipped adapters where they exist, and two of random weights and other shapes."""
    found = {name: adapters.shipped(name) for name in adapters.shipped_names()}
    configs = {
        "random-narrow": LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"]),
        "random-wide": LoraConfig(r=32, lora_alpha=16, use_rslora=True, target_modules="all-linear"),
    }
    for seed, (name, config) in enumerate(configs.items()):
        torch.manual_seed(seed)
        found[name] = tmp_path_factory.mktemp(name)
        with peft_on_transformers_5():
            model = get_peft_model(AutoModelForCausalLM.from_pretrained(model_files(SMALL).path), config)
        for key, parameter in model.named_parameters():
            if "lora_B" in key:
                torch.nn.init.normal_(parameter, std=0.02)
        model.save_pretrained(found[name])
        written = json.loads((found[name] / "adapter_config.json").read_text())
        written["base_model_name_or_path"] = SMALL
        (found[name] / "adapter_config.json").write_text(json.dumps(written))
    return found


async def test_mixed_batch_gives_each_row_the_greedy_tokens_of_peft(model_files, tuned, start):
    files = model_files(SMALL)
    specs = [adapters.load(path, name) for name, path in tuned.items()]
    engine = await start(files, specs, dtype="float32")
    calls = [ask(question, name, 24) for question, name in zip(QUESTIONS * 2, [None, *tuned], strict=False)]
    rows = await asyncio.gather(*(read(engine, call) for call in calls))
    prompts = {call.call_id: engine._running.encoder.encode(call, manifest_of(specs, call), 512) for call in calls}
    await engine.close()
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
