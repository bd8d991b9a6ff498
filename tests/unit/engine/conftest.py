"""Tiny models with random weights (float32), random PEFT adapters on them, and a driver that steps the true loop."""

from __future__ import annotations

import random
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config

from serve_app.adapters import AdapterSpec, load
from serve_app.core import FinishReason, HeadraceError, Usage
from serve_app.engine.admission import Limits
from serve_app.engine.assembly import Assembly, assemble
from serve_app.engine.decoders import choose
from serve_app.engine.decoders.fused import fits
from serve_app.engine.load import load_model, read_pairs
from serve_app.engine.loop import Books, EngineLoop
from serve_app.engine.options import EngineOptions
from serve_app.engine.request import Discard, Request, Row, SampledToken, Segment
from serve_app.engine.residency import Residency
from serve_app.engine.scheduler import Scheduler
from serve_app.engine.slots import SlotTable

VOCAB = 97
CONTEXT = 64
SHAPE: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 96,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "num_key_value_heads": 1,
    "max_position_embeddings": 256,
}
"""Heads of 32, so that the native kernels can run it."""
WAYS = ("fused-native", "fused-plain", "generic-native", "generic-plain")
"""Decoder and kernels."""


@contextmanager
def peft_on_transformers_5() -> Iterator[None]:
    """PEFT reads an attribute that transformers 5 warns about."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)
        yield


@dataclass(frozen=True)
class Tiny:
    """A model folder, its adapters, and the references made from them."""

    path: Path
    adapters: tuple[AdapterSpec, ...]
    kernel_folder: Path

    def model(self) -> Any:
        return load_model(self.path, torch.float32, torch.device("cpu"))

    def assemble(self, way: str = WAYS[0], **options: Any) -> Assembly:
        """An engine without its loop, all adapters written to the slots of their index."""
        decoder, kernels = way.split("-")
        fields = {
            **{"dtype": "float32", "linear": "plain", "kernels": kernels},
            **{"max_context_tokens": CONTEXT, "max_adapter_rank": 16},
        }
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(choose.fused, "fits", fits if decoder == "fused" else lambda model: False)
            assembly = assemble(self.path, EngineOptions(**{**fields, **options}), self.kernel_folder)
        assert (assembly.decoder, assembly.kernels) == (decoder, kernels)
        for slot, adapter in enumerate(self.adapters):
            assembly.bank.write(slot, read_pairs(adapter, assembly.target))
        return assembly

    def reference(self, adapter: int | None) -> Any:
        """The same model under PEFT, with one adapter active."""
        base = AutoModelForCausalLM.from_pretrained(self.path, dtype=torch.float32)
        with peft_on_transformers_5():
            return base if adapter is None else PeftModel.from_pretrained(base, self.adapters[adapter].path).eval()


@dataclass
class Recorder:
    """A Sink that keeps what it is told; asks to stop once `stop_after` tokens are in."""

    stop_after: int | None = None
    tokens: list[SampledToken] = field(default_factory=list)
    usages: list[Usage] = field(default_factory=list)
    finish: FinishReason | None = None
    error: HeadraceError | None = None

    def token(self, token: SampledToken, finish: FinishReason | None, usage: Usage) -> bool:
        assert self.finish is None and self.error is None, "nothing may follow the end"
        self.tokens.append(token)
        self.usages.append(usage)
        self.finish = finish
        return len(self.tokens) == self.stop_after

    def fail(self, error: HeadraceError) -> None:
        assert self.finish is None and self.error is None, "nothing may follow the end"
        self.error = error

    @property
    def ids(self) -> list[int]:
        return [token.token_id for token in self.tokens]


class Driver:
    """The true loop, stepped by the test instead of a thread. Adapters are named "0", "1", ... and all resident."""

    def __init__(
        self,
        runner: Any,
        max_rows: int = 8,
        step_tokens: int = 64,
        end_ids: Sequence[int] = (),
        num_adapters: int = 3,
        num_slots: int | None = None,
        draft_tokens: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.slots = SlotTable(num_slots or max_rows)
        self.residency = Residency(max(1, num_adapters), lambda slot, version: None)
        self.scheduler = Scheduler(Limits(max_rows, 64, step_tokens), self.slots, self.residency)
        books = Books(self.scheduler, self.slots, self.residency)
        self.loop = EngineLoop(books, runner, end_ids, nullcontext, draft_tokens, clock)
        for index in range(num_adapters):
            self.loop.add_adapter(str(index))
            self.loop.preload_adapter(str(index))
            self.loop.adapter_loaded(index, str(index))

    def submit(self, prompt: Sequence[int], name: str = "", stop_after: int | None = None, **fields: Any) -> Recorder:
        sink = Recorder(stop_after)
        request_id = name or f"request-{id(sink)}"
        self.loop.submit(Request(request_id, tuple(prompt), sink=sink, **{"max_tokens": 12, **fields}))
        return sink

    def finish(self) -> None:
        while not self.scheduler.idle:
            self.loop.step()
        self.scheduler.check()


def segment(
    slot: int, start: int, token_ids: Sequence[int], sampled: int = 1, adapter_slot: int | None = None
) -> Segment:
    """Tokens of a row that does nothing else."""
    row = Row(Request(f"row-{slot}", (1,), 9, Discard()), slot, adapter_slot, random.Random(0))
    return Segment(row, start, tuple(token_ids), sampled)


@pytest.fixture(scope="session")
def kernel_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the native kernels are compiled, once for all tests."""
    return tmp_path_factory.getbasetemp() / "kernels"


@pytest.fixture(scope="session", params=[LlamaConfig, Qwen2Config], ids=["llama", "qwen2"])
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, kernel_folder: Path) -> Tiny:
    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(7)
    model = AutoModelForCausalLM.from_config(request.param(**SHAPE, initializer_range=0.3))
    model.save_pretrained(folder / "base")
    configs = [
        LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"]),
        LoraConfig(r=8, lora_alpha=8, target_modules=["q_proj", "k_proj", "o_proj", "gate_proj", "down_proj"]),
        LoraConfig(r=16, lora_alpha=16, use_rslora=True, target_modules="all-linear"),
    ]
    adapters = [_adapter(folder / "base", folder / f"adapter-{index}", config) for index, config in enumerate(configs)]
    return Tiny(folder / "base", tuple(adapters), kernel_folder)


def _adapter(base: Path, path: Path, config: LoraConfig) -> AdapterSpec:
    """A random adapter, strong enough to change the greedy answer."""
    with peft_on_transformers_5():
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(path)
    return load(path, path.name)


@pytest.fixture
def drive() -> Callable[..., Driver]:
    return Driver
