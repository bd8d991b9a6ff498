import dataclasses

import pytest
import torch
from safetensors.torch import load_file, save_file

from serve_app.core import AdapterError, ConfigError, EngineError
from serve_app.engine.load import load_model, read_pairs
from serve_app.engine.options import EngineOptions
from serve_app.engine.probe import choose_device, choose_dtype


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


@pytest.mark.parametrize(
    ("field", "value"),
    [("max_rows", 0), ("max_waiting", -1), ("threads", 0), ("dtype", "int4"), ("top_p", 0.0), ("gate_cores", 0)],
)
def test_option_out_of_range_names_the_field(field, value):
    with pytest.raises(ConfigError, match=field):
        EngineOptions(**{field: value})


def test_auto_dtype_is_one_of_the_two_timed():
    assert choose_dtype("auto", torch.device("cpu"), 64, 128) in (torch.float32, torch.bfloat16)
    assert choose_dtype("float32", torch.device("cpu"), 64, 128) == torch.float32


def test_device_that_is_not_there_names_itself():
    with pytest.raises(ConfigError, match="nonsense"):
        choose_device("nonsense")
    assert choose_device("cpu").type == "cpu"
