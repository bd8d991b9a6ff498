"""A tiny model folder with a byte-level tokenizer and a chat template, and one random adapter with a manifest."""

from __future__ import annotations

import asyncio
import json
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig

from serve_app.adapters import AdapterManifest, AdapterSpec, load
from serve_app.catalogue import ModelFiles
from serve_app.core import Call, Delta, Message, SamplingParams
from serve_app.engines.local import EngineOptions, LocalEngine

SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Llama, 2 layers, vocabulary: 256 bytes and three specials."""
    folder = tmp_path_factory.mktemp("model")
    write_tokenizer(folder)
    torch.manual_seed(3)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = LlamaConfig(vocab_size=259, max_position_embeddings=512, initializer_range=0.4, eos_token_id=258, **shape)
    model = AutoModelForCausalLM.from_config(config)
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


@pytest.fixture
async def start(model_folder: Path, spec: AdapterSpec) -> AsyncIterator[Callable[..., Awaitable[LocalEngine]]]:
    """Starts engines with the given options and closes them after the test."""
    engines: list[LocalEngine] = []

    async def starter(**options: Any) -> LocalEngine:
        fields = {"dtype": "float32", "max_context_tokens": 256, **options}
        engines.append(LocalEngine(ModelFiles("tiny", model_folder, ""), [spec], EngineOptions(**fields)))
        await engines[-1].start()
        return engines[-1]

    yield starter
    await asyncio.gather(*(engine.close() for engine in engines))


def ask(text: str = "hello", call_id: str = "call", adapter: str | None = None, **sampling: Any) -> Call:
    return Call(call_id, SamplingParams(**sampling), (Message("user", text),), adapter=adapter)


async def read(engine: Any, call: Call) -> list[Delta]:
    return [delta async for delta in engine.generate(call)]


@pytest.fixture
def asking() -> Callable[..., Call]:
    return ask


@pytest.fixture
def reading() -> Callable[..., Awaitable[Sequence[Delta]]]:
    return read
