import dataclasses

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, MistralConfig, Qwen2Config

from serve_app.core import AdapterError, EngineError
from serve_app.engine.load import context_limit, load_model, read_pairs


def spoiled(tiny, tmp_path, change):
    tensors = load_file(tiny.adapters[0].path / "adapter_model.safetensors")
    change(tensors, next(iter(tensors)))
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    return dataclasses.replace(tiny.adapters[0], path=tmp_path)


def put(key, value):
    return lambda tensors, first: tensors.__setitem__(key or first, value(tensors[first]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put(None, lambda one: torch.full_like(one, float("nan"))), "not finite"),
        (put(None, lambda one: one[:2].contiguous()), "has shapes"),
        (put("base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector", torch.clone), "no LoRA matrix"),
        (put("base_model.model.model.layers.9.self_attn.q_proj.lora_A.weight", torch.clone), "no linear layer"),
        (lambda tensors, first: tensors.pop(first), "only one of its two"),
    ],
)
def test_adapter_that_cannot_run_is_refused_by_name(tiny, tmp_path, change, message):
    with pytest.raises(AdapterError, match=f"adapter adapter-0: .*{message}"):
        read_pairs(spoiled(tiny, tmp_path, change), tiny.model())


def test_file_that_is_no_safetensors_is_refused(tiny, tmp_path):
    (tmp_path / "adapter_model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(AdapterError, match="cannot be read"):
        read_pairs(dataclasses.replace(tiny.adapters[0], path=tmp_path), tiny.model())


def test_folder_without_a_model_is_one_clear_error(tmp_path):
    with pytest.raises(EngineError, match="cannot be loaded"):
        load_model(tmp_path, torch.float32, torch.device("cpu"))


ROPE = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 4, "long_factor": [4.0] * 4}


@pytest.mark.parametrize(
    ("config", "limit"),
    [
        (LlamaConfig(max_position_embeddings=256), 100),
        (LlamaConfig(max_position_embeddings=64), 64),
        (MistralConfig(max_position_embeddings=256, sliding_window=8), 8),
        (MistralConfig(max_position_embeddings=256, sliding_window=None), 100),
        (Qwen2Config(max_position_embeddings=256, sliding_window=8, use_sliding_window=False), 100),
        (LlamaConfig(rope_parameters={**ROPE, "original_max_position_embeddings": 32, "factor": 8.0}), 32),
    ],
)
def test_context_ends_where_full_attention_over_a_slot_would_be_wrong(config, limit):
    assert context_limit(config, 100) == limit
