"""A tiny model folder with a byte-level tokenizer and a chat template, and random adapters on it."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig

from serve_app.adapters import AdapterManifest, AdapterSpec, load
from serve_app.catalogue import ModelFiles
from serve_app.config.nodes import NodeSettings
from serve_app.core import Call, Delta
from serve_app.engine.request import Plan, Request
from serve_app.engines.local import EngineOptions, LocalEngine
from serve_app.engines.remote import RemoteEngine
from serve_app.engines.vllm import VllmEngine
from tests.parts.engines.openai_server import node_of, served
from tests.parts.engines.vllm_stub import StubLLM, install
from tests.unit.engines.calls import ask, read
from tests.unit.gateway.conftest import World, open_worlds

SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SHAPE: dict[str, Any] = {
    "vocab_size": 259,
    "hidden_size": 96,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "num_key_value_heads": 1,
    "max_position_embeddings": 512,
}
"""Heads of 32, so that the native kernels can run it."""
DEFAULTS: dict[str, Any] = {"dtype": "float32", "linear": "plain", "max_context_tokens": 256}
"""Of all engines here: nothing is timed at the start."""
WEIGHTS = "adapter_model.safetensors"


@pytest.fixture(autouse=True)
def kernels_are_built_once(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache folder, in which engines build their kernels, is the session's."""
    monkeypatch.setenv("HEADRACE_CACHE", str(tmp_path_factory.getbasetemp()))


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Llama, 2 layers, vocabulary: 256 bytes and three specials."""
    folder = tmp_path_factory.mktemp("model")
    write_tokenizer(folder)
    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_config(LlamaConfig(**SHAPE, initializer_range=0.4, eos_token_id=258))
    with torch.no_grad():
        model.lm_head.weight[-len(SPECIALS) :] = 0.0  # so that no answer ends by chance
    model.save_pretrained(folder)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [258]}))
    return folder


def write_tokenizer(folder: Path) -> None:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: index for index, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in SPECIALS])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>", "chat_template": TEMPLATE}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


@pytest.fixture(scope="session")
def model(model_folder: Path) -> ModelFiles:
    """The tiny model under the alias that its adapters name."""
    return ModelFiles("tiny", model_folder, "")


@pytest.fixture(scope="session")
def spec(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> AdapterSpec:
    """A random adapter named `legal` whose manifest has a system prompt, a stop string and a length."""
    folder = tmp_path_factory.mktemp("adapter")
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "up_proj"])
    with warnings.catch_warnings():  # PEFT reads an attribute that transformers 5 warns about
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(model_folder), config)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    manifest = AdapterManifest(system_prompt="be exact", stop=["\x00\x00\x00"], max_tokens=7)
    (folder / "headrace.json").write_text(manifest.model_dump_json())
    return load(folder, "legal")


MakeAdapter = Callable[..., Path]


@pytest.fixture(scope="session")
def make_adapter(spec: AdapterSpec, tmp_path_factory: pytest.TempPathFactory) -> MakeAdapter:
    """Writes the folder of another adapter of the same layers, without a manifest; `seed` decides its answers.

    `std`: of its weights. Further arguments change its adapter_config.json.
    """

    def make(seed: int = 0, rank: int = 4, std: float = 0.3, **config: Any) -> Path:
        folder = tmp_path_factory.mktemp("made")
        generator = torch.Generator().manual_seed(seed)
        tensors = {}
        for key, tensor in load_file(spec.path / WEIGHTS).items():
            shape = (rank, tensor.shape[1]) if "lora_A" in key else (tensor.shape[0], rank)
            tensors[key] = torch.randn(shape, generator=generator) * std
        save_file(tensors, folder / WEIGHTS)
        record = json.loads((spec.path / "adapter_config.json").read_text())
        record |= {"r": rank, "lora_alpha": 2 * rank, "base_model_name_or_path": "tiny", **config}
        (folder / "adapter_config.json").write_text(json.dumps(record))
        return folder

    return make


Start = Callable[..., Awaitable[LocalEngine]]


@pytest.fixture
async def start(model: ModelFiles, spec: AdapterSpec) -> AsyncIterator[Start]:
    """Starts engines with the given options, with `legal` or with other adapters; closes them after the test."""
    engines: list[LocalEngine] = []

    async def starter(adapters: Sequence[AdapterSpec] | None = None, **options: Any) -> LocalEngine:
        specs = [spec] if adapters is None else adapters
        engines.append(LocalEngine(model, specs, EngineOptions(**{**DEFAULTS, **options})))
        await engines[-1].start()
        return engines[-1]

    yield starter
    await asyncio.gather(*(engine.close() for engine in engines))


@pytest.fixture
async def start_vllm(
    model: ModelFiles, spec: AdapterSpec, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[..., Awaitable[tuple[VllmEngine, StubLLM]]]]:
    """Starts engines with `legal` over a scripted vLLM, with the given keys of a node; closes them after the test."""
    for name in ("OMP_NUM_THREADS", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, os.environ.get(name, "1"))  # engines set what is not set
    made = install(monkeypatch, Tokenizer.from_file(str(model.path / "tokenizer.json")))
    engines: list[VllmEngine] = []

    async def starter(adapters: Sequence[AdapterSpec] | None = None, **keys: Any) -> tuple[VllmEngine, StubLLM]:
        node = NodeSettings(model="tiny", engine="vllm", **keys)
        engines.append(VllmEngine(model, [spec] if adapters is None else adapters, node, threads=1))
        await engines[-1].start()
        return engines[-1], made[-1]

    yield starter
    await asyncio.gather(*(engine.close() for engine in engines))


Elsewhere = Callable[..., Awaitable[RemoteEngine]]


@pytest.fixture
async def elsewhere() -> AsyncIterator[Elsewhere]:
    """Starts remote engines over apps on loopback, or over addresses; closes all of it after the test.

    `server` and `remote` change these sections of the settings, further arguments the node's.
    """
    async with AsyncExitStack() as stack:

        async def starter(*servers: Any, adapters: Sequence[str] = (), sleep: Any = asyncio.sleep, **keys: Any) -> Any:
            urls = [one if isinstance(one, str) else await stack.enter_async_context(served(one)) for one in servers]
            engine = RemoteEngine(node_of(*urls, **keys), adapters, sleep)
            stack.push_async_callback(engine.close)
            await engine.start()
            return engine

        yield starter


@pytest.fixture
async def gateway() -> AsyncIterator[Callable[..., World]]:
    """Builds gateways of our own over scripted engines, to be servers like others."""
    async with open_worlds() as make:
        yield make


async def eventually(holds: Callable[[], Any]) -> None:
    """Wait until it does, half a second at most."""
    async with asyncio.timeout(0.5):
        while not holds():  # noqa: ASYNC110  (of another task's state there is no event)
            await asyncio.sleep(0.01)


@pytest.fixture
def until() -> Callable[[Callable[[], Any]], Awaitable[None]]:
    return eventually


@contextmanager
def standstill(engine: LocalEngine) -> Iterator[None]:
    """No step ends before the context does: what is asked of the engine meanwhile finds the calls as they are."""
    assert engine._running is not None
    runner, may_run = engine._running.assembly.runner, threading.Event()
    run = runner.run

    def wait_and_run(plan: Plan) -> Any:
        assert may_run.wait(60), "the test forgot the engine"
        return run(plan)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "run", wait_and_run)
        try:
            yield
        finally:
            may_run.set()


@pytest.fixture
def stopped() -> Callable[[LocalEngine], AbstractContextManager[None]]:
    return standstill


@pytest.fixture
def asking() -> Callable[..., Call]:
    return ask


@pytest.fixture
def reading() -> Callable[..., Awaitable[Sequence[Delta]]]:
    return read


async def begin(engine: LocalEngine, call: Call) -> asyncio.Task[list[Delta]]:
    """Ask, and return once the engine has the call and is at work."""
    assert engine._running is not None
    submit, submitted = engine._running.loop.submit, asyncio.Event()

    def submit_and_tell(*requests: Request) -> None:
        submit(*requests)
        submitted.set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine._running.loop, "submit", submit_and_tell)
        task = asyncio.create_task(read(engine, call))
        await asyncio.wait_for(submitted.wait(), 60)
    for _ in range(5000):
        if (await engine.info()).active_rows:
            return task
        await asyncio.sleep(0.002)
    pytest.fail("the engine does not begin")


@pytest.fixture
def beginning() -> Callable[..., Awaitable[asyncio.Task[list[Delta]]]]:
    return begin
