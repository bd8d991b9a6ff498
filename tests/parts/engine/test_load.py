"""What is read from a folder, and what is refused there, by name and with the reason."""

import dataclasses
import json
import math

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, MistralConfig, Phi3Config, Qwen2Config

from serve_app.core import AdapterError, EngineError
from serve_app.engine.bank import SiteShape
from serve_app.engine.decoders import fused, generic
from serve_app.engine.load import Target, context_limit, load_model, read_config, read_pairs

Q0 = "base_model.model.model.layers.0.self_attn.q_proj"
FILE = "adapter_model.safetensors"


@pytest.fixture
def target(tiny):
    return Target.of(fused.site_shapes(tiny.model()), 16, torch.float32)


def spoiled(tiny, tmp_path, change):
    tensors = load_file(tiny.adapters[0].path / FILE)
    change(tensors, next(iter(tensors)))
    save_file(tensors, tmp_path / FILE)
    return dataclasses.replace(tiny.adapters[0], path=tmp_path)


def put(key, value):
    return lambda tensors, first: tensors.__setitem__(key or first, value(tensors[first]))


def one_value(value):
    def change(tensor):
        tensor[0, 0] = value
        return tensor

    return change


def test_target_is_every_linear_layer_of_the_sites():
    shapes = [SiteShape(("q", "k"), 8, (6, 4)), SiteShape(("o",), 6, (8,))]
    target = Target.of(shapes, 4, torch.float32)
    assert target.widths == {"q": (8, 6), "k": (8, 4), "o": (6, 8)} and target.max_rank == 4


def test_both_decoders_let_adapters_act_on_the_same_layers(tiny):
    model = tiny.model()
    widths = [Target.of(module.site_shapes(model), 4, torch.float32).widths for module in (fused, generic)]
    assert widths[0] == widths[1] and len(widths[0]) == 2 * 7 and "lm_head" not in widths[0]


def test_pairs_are_the_matrices_of_the_file_with_the_adapters_scaling(tiny, target):
    for adapter in tiny.adapters:
        tensors, pairs = load_file(adapter.path / FILE), read_pairs(adapter, target)
        assert len(pairs) * 2 == len(tensors)
        for path, pair in pairs.items():
            assert torch.equal(pair.down, tensors[f"base_model.model.{path}.lora_A.weight"])
            assert torch.equal(pair.up, tensors[f"base_model.model.{path}.lora_B.weight"])
            assert pair.scaling == adapter.scaling


def test_keys_that_name_the_default_adapter_are_understood(tiny, tmp_path, target):
    tensors = load_file(tiny.adapters[0].path / FILE)
    renamed = {key.replace(".weight", ".default.weight"): tensor for key, tensor in tensors.items()}
    save_file(renamed, tmp_path / FILE)
    pairs = read_pairs(dataclasses.replace(tiny.adapters[0], path=tmp_path), target)
    assert pairs.keys() == read_pairs(tiny.adapters[0], target).keys()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put(None, one_value(float("nan"))), r"tensor base_model\S*lora_A\.weight has values that are not finite"),
        (put(None, one_value(float("-inf"))), "not finite in torch.float32"),
        (put(None, lambda one: one[:2].contiguous()), "has shapes .* the base and rank need"),
        (put(None, lambda one: one.t().contiguous()), "has shapes"),
        (put(None, lambda one: one[:, :-1].contiguous()), "has shapes"),
        (put(f"{Q0}.lora_magnitude_vector", torch.clone), "lora_magnitude_vector is no LoRA matrix"),
        (put(f"{Q0}.lora_A.second.weight", torch.clone), "no LoRA matrix"),
        (put("base_model.model.model.embed_tokens.lora_embedding_A", torch.clone), "no LoRA matrix"),
        (put("base_model.model.lm_head.lora_A.weight", torch.clone), "no linear layer lm_head .*or on its head"),
        (put("base_model.model.model.layers.9.mlp.up_proj.lora_A.weight", torch.clone), "trained for another base"),
        (put("base_model.model.model.norm.lora_A.weight", torch.clone), "no linear layer model.norm"),
        (lambda tensors, first: tensors.pop(first), "only one of its two"),
    ],
)
def test_adapter_that_cannot_run_is_refused_by_name(tiny, tmp_path, target, change, message):
    with pytest.raises(AdapterError, match=f"adapter adapter-0: .*{message}"):
        read_pairs(spoiled(tiny, tmp_path, change), target)


def test_adapter_of_a_base_with_other_widths_is_refused(tiny, target):
    widths = {path: (in_features + 16, out) for path, (in_features, out) in target.widths.items()}
    with pytest.raises(AdapterError, match=r"adapter adapter-0: .*has shapes \(\(4, 96\)"):
        read_pairs(tiny.adapters[0], dataclasses.replace(target, widths=widths))


def test_rank_that_no_slot_holds_is_refused_with_what_to_set(tiny, target):
    with pytest.raises(AdapterError, match=r"adapter-2 has rank 16, more than the 15 .*raise max_adapter_rank"):
        read_pairs(tiny.adapters[2], dataclasses.replace(target, max_rank=15))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_value_too_large_for_the_served_type_is_refused(tiny, tmp_path, target, dtype):
    adapter = spoiled(tiny, tmp_path, put(None, one_value(1e6)))
    served = dataclasses.replace(target, dtype=dtype)
    if dtype == torch.float16:
        with pytest.raises(AdapterError, match=r"not finite in torch\.float16"):
            read_pairs(adapter, served)
    else:
        assert read_pairs(adapter, served)


def test_matrix_that_overflows_once_scaled_is_refused(tiny, tmp_path, target):
    adapter = spoiled(tiny, tmp_path, put(f"{Q0}.lora_B.weight", lambda _: torch.full((96, 4), 4e4)))
    served = dataclasses.replace(target, dtype=torch.float16)
    assert adapter.scaling == 2.0
    with pytest.raises(AdapterError, match=r"q_proj overflows torch\.float16 once scaled by 2\.0"):
        read_pairs(adapter, served)
    assert read_pairs(dataclasses.replace(adapter, alpha=4.0), served)


@pytest.mark.parametrize("content", [b"nonsense", b"", None])
def test_file_that_is_no_safetensors_is_refused(tiny, tmp_path, target, content):
    if content is not None:
        (tmp_path / FILE).write_bytes(content)
    with pytest.raises(AdapterError, match=r"adapter adapter-0: .*cannot be read"):
        read_pairs(dataclasses.replace(tiny.adapters[0], path=tmp_path), target)


def test_file_that_was_cut_short_is_refused(tiny, tmp_path, target):
    whole = (tiny.adapters[0].path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(AdapterError, match="cannot be read"):
        read_pairs(dataclasses.replace(tiny.adapters[0], path=tmp_path), target)


def test_folder_without_a_model_is_one_clear_error(tmp_path):
    with pytest.raises(EngineError, match="holds no model that can be served"):
        read_config(tmp_path)
    with pytest.raises(EngineError, match="cannot be loaded"):
        load_model(tmp_path, torch.float32, torch.device("cpu"))


def test_model_with_layers_that_forget_is_refused(tmp_path):
    Qwen2Config(
        **{"vocab_size": 9, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 2, "num_attention_heads": 1},
        **{"num_key_value_heads": 1, "use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1},
    ).save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**written, "architectures": ["Qwen2ForCausalLM"]}))
    save_file({"model.norm.weight": torch.ones(8)}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EngineError, match=r"layers of the kind .*sliding_attention.*only full_attention is served"):
        load_model(tmp_path, torch.float32, torch.device("cpu"))


def test_loaded_model_is_for_inference_in_the_type_asked_for(tiny):
    model = load_model(tiny.path, torch.bfloat16, torch.device("cpu"))
    assert not model.training
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_rslora_is_scaled_by_the_root_of_its_rank(tiny):
    assembly = tiny.assemble("fused-plain")
    path = "model.layers.1.mlp.down_proj"
    pair = read_pairs(tiny.adapters[2], assembly.target)[path]
    assert pair.scaling == 16 / math.sqrt(16)
    up = assembly.bank.sites[path].up[2, : pair.up.numel()]
    torch.testing.assert_close(up.view(pair.up.t().shape), pair.up.t() * 4)


ROPE = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 4, "long_factor": [4.0] * 4}


@pytest.mark.parametrize(
    ("config", "limit"),
    [
        (LlamaConfig(max_position_embeddings=256), 100),
        (LlamaConfig(max_position_embeddings=64), 64),
        (MistralConfig(max_position_embeddings=256, sliding_window=8), 8),
        (MistralConfig(max_position_embeddings=256, sliding_window=None), 100),
        (Phi3Config(max_position_embeddings=256, sliding_window=32), 32),
        (Qwen2Config(max_position_embeddings=256, sliding_window=8, use_sliding_window=False), 100),
        (LlamaConfig(rope_parameters={**ROPE, "original_max_position_embeddings": 32, "factor": 8.0}), 32),
    ],
)
def test_context_ends_where_full_attention_over_a_slot_would_be_wrong(config, limit):
    assert context_limit(config, 100) == limit
