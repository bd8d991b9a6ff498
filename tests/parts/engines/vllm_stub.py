"""As much of vLLM as our engine asks for, scripted: what is tested with it is what we do around vLLM.

The real one is asked in tests/models/test_vllm.py, where an environment has it.
"""

from __future__ import annotations

import asyncio
import sys
import types
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer

BASE_TEXT, ADAPTER_TEXT = "The answer of the base model, which is long enough", "It depends on the law of the land"


class VLLMError(Exception):
    """What all of vLLM's errors are."""


@dataclass
class Arguments:
    """AsyncEngineArgs: keeps what it is given."""

    keys: dict[str, Any]

    def __init__(self, **keys: Any) -> None:
        self.keys = keys

    def create_engine_config(self) -> Any:
        keys = self.keys
        model = types.SimpleNamespace(
            max_model_len=keys["max_model_len"],
            dtype=torch.float32,
            get_vocab_size=lambda: 259,
            get_head_size=lambda: 32,
            get_total_num_kv_heads=lambda: 1,
            get_total_num_hidden_layers=lambda: 2,
        )
        cache, device = types.SimpleNamespace(), types.SimpleNamespace(device_type="cpu")
        return types.SimpleNamespace(keys=keys, model_config=model, cache_config=cache, device_config=device)


@dataclass
class StubLLM:
    """AsyncLLM: answers with the bytes of a text, one token a step, while `may_go`."""

    config: Any
    tokenizer: Tokenizer
    errored: bool = False
    fails: str | None = None
    """`error`: raise in the middle of an answer; else a finish reason to break it off with."""
    may_go: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[tuple[dict[str, Any], Any, int]] = field(default_factory=list)
    """Prompt, sampling parameters and priority of each call."""
    aborted: list[str] = field(default_factory=list)
    loaded: list[Any] = field(default_factory=list)
    unloaded: list[int] = field(default_factory=list)
    calls: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)
    stopped: int = 0

    def __post_init__(self) -> None:
        self.may_go.set()

    async def collective_rpc(self, method: str, args: tuple[Any, ...]) -> None:
        self.calls.append((method, args))

    async def add_lora(self, lora: Any) -> bool:
        self.loaded.append(lora)
        return True

    async def remove_lora(self, lora_id: int) -> bool:
        self.unloaded.append(lora_id)
        return True

    def shutdown(self) -> None:
        self.stopped += 1

    async def generate(
        self, prompt: dict[str, Any], wanted: Any, request_id: str, lora_request: Any, priority: int
    ) -> AsyncGenerator[Any]:
        self.asked.append((prompt, wanted, priority))
        ids = self.tokenizer.encode(ADAPTER_TEXT if lora_request else BASE_TEXT).ids
        ids, ended = (ids[: wanted.max_tokens], "length") if wanted.max_tokens <= len(ids) else ([*ids, 258], "stop")
        try:
            for index, token_id in enumerate(ids):
                await self.may_go.wait()
                await asyncio.sleep(0)
                if self.fails and index == 2:
                    if self.fails == "error":
                        raise VLLMError("the worker is gone")
                    ended, ids = self.fails, ids[: index + 1]
                yield _output([token_id], ended if index == len(ids) - 1 else None)
                if index == len(ids) - 1:
                    return
        except (asyncio.CancelledError, GeneratorExit):
            self.aborted.append(request_id)
            raise


def _output(token_ids: list[int], ended: str | None) -> Any:
    told = [{one: _logprob(-0.1), (one + 1) % 256: _logprob(-3.0)} for one in token_ids]
    completion = types.SimpleNamespace(token_ids=token_ids, logprobs=told, finish_reason=ended)
    return types.SimpleNamespace(outputs=[completion], finished=ended is not None, num_cached_tokens=3)


def _logprob(value: float) -> Any:
    return types.SimpleNamespace(logprob=value)


class Keys(types.SimpleNamespace):
    """Any of vLLM's plain classes: keeps its keys."""


def lora_request(name: str, lora_id: int, path: str) -> Any:
    return types.SimpleNamespace(lora_name=name, lora_int_id=lora_id, lora_path=path)


def modules(tokenizer: Tokenizer, made: list[StubLLM]) -> Iterator[tuple[str, types.ModuleType]]:
    """Name and module, of all that the engine imports; every engine that starts is put into `made`."""

    def start(config: Any, disable_log_stats: bool) -> StubLLM:
        made.append(StubLLM(config, tokenizer))
        return made[-1]

    holds: dict[str, dict[str, Any]] = {
        "vllm": {"SamplingParams": Keys},
        "vllm.exceptions": {"VLLMError": VLLMError},
        "vllm.sampling_params": {"RequestOutputKind": types.SimpleNamespace(DELTA="delta")},
        "vllm.inputs.engine": {"tokens_input": lambda ids: {"prompt_token_ids": ids}},
        "vllm.lora.request": {"LoRARequest": lora_request},
        "vllm.engine.arg_utils": {"AsyncEngineArgs": Arguments},
        "vllm.v1.engine.async_llm": {"AsyncLLM": types.SimpleNamespace(from_vllm_config=start)},
    }
    for name in ("vllm.inputs", "vllm.lora", "vllm.engine", "vllm.v1", "vllm.v1.engine", *holds):
        module = types.ModuleType(name)
        module.__path__ = []
        vars(module).update(holds.get(name, {}))
        yield name, module


def install(patch: pytest.MonkeyPatch, tokenizer: Tokenizer) -> list[StubLLM]:
    """Until the patch is undone, `import vllm` finds this. Returns the list of started engines, empty as yet."""
    made: list[StubLLM] = []
    for name, module in modules(tokenizer, made):
        patch.setitem(sys.modules, name, module)
    return made
