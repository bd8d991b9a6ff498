"""Tiny adapters on disk, made with NumPy: a two-layer decoder of width 8."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import save_file

from serve_app.catalogue import ModelFiles

BASE_DIGEST = "a" * 64
BASE_CONFIG = {
    "hidden_size": 8,
    "intermediate_size": 12,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "num_hidden_layers": 2,
}
WIDTHS = {
    "self_attn.q_proj": (8, 8),
    "self_attn.k_proj": (8, 4),
    "self_attn.v_proj": (8, 4),
    "self_attn.o_proj": (8, 8),
    "mlp.gate_proj": (8, 12),
    "mlp.up_proj": (8, 12),
    "mlp.down_proj": (12, 8),
}
Tensors = dict[str, npt.NDArray[Any]]


def lora_tensors(rank: int = 2, layers: int = 2, dtype: str = "float32") -> Tensors:
    """All matrices of a plain adapter, by PEFT's names."""
    rng = np.random.default_rng(0)
    tensors: Tensors = {}
    for layer in range(layers):
        for module, (width_in, width_out) in WIDTHS.items():
            prefix = f"base_model.model.model.layers.{layer}.{module}"
            tensors[f"{prefix}.lora_A.weight"] = rng.normal(size=(rank, width_in)).astype(dtype)
            tensors[f"{prefix}.lora_B.weight"] = rng.normal(size=(width_out, rank)).astype(dtype)
    return tensors


MakeAdapter = Callable[..., Path]


@pytest.fixture
def make_adapter(tmp_path: Path) -> MakeAdapter:
    """Writes an adapter folder; `config` updates adapter_config.json, `manifest` makes a headrace.json."""

    def make(
        name: str = "tiny",
        config: dict[str, Any] | None = None,
        tensors: Tensors | None = None,
        manifest: dict[str, Any] | None = None,
    ) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        record = {
            "peft_type": "LORA",
            "r": 2,
            "lora_alpha": 4,
            "bias": "none",
            "init_lora_weights": True,
            "target_modules": ["q_proj"],
            "base_model_name_or_path": "HuggingFaceTB/Tiny-Base",
            "lora_dropout": 0.1,
            "modules_to_save": None,
        }
        (folder / "adapter_config.json").write_text(json.dumps(record | (config or {})))
        save_file(lora_tensors() if tensors is None else tensors, folder / "adapter_model.safetensors")
        if manifest is not None:
            (folder / "headrace.json").write_text(json.dumps(manifest))
        return folder

    return make


@pytest.fixture
def base(tmp_path: Path) -> ModelFiles:
    """The folder of a base that the tiny adapters fit; only its config.json is there."""
    folder = tmp_path / "base-model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(BASE_CONFIG))
    return ModelFiles("tiny-base", folder, BASE_DIGEST)
