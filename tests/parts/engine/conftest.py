"""Tiny models with random weights (float32), random PEFT adapters on them, and kernels compiled for them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config

from serve_app.adapters import AdapterSpec, load
from serve_app.engine.assembly import Assembly, assemble
from serve_app.engine.decoders import choose
from serve_app.engine.decoders.fused import fits
from serve_app.engine.load import load_model, read_pairs
from serve_app.engine.options import EngineOptions
from tests.unit.engine.conftest import drive

__all__ = ["drive"]

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
