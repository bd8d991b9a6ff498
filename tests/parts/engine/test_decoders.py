"""Both decoders against transformers' own logits, whatever the steps, and refusals of models they would get wrong."""

import random
from types import SimpleNamespace

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    FalconConfig,
    GPTNeoXConfig,
    GraniteConfig,
    LlamaConfig,
    MistralConfig,
    OPTConfig,
    Phi3Config,
    Qwen2Config,
    Qwen2MoeConfig,
    Qwen3Config,
    Qwen3MoeConfig,
)

from serve_app.core import EngineError
from serve_app.engine.assembly import assemble
from serve_app.engine.decoders import fused, generic
from serve_app.engine.decoders.protocol import ModelShape
from serve_app.engine.load import read_pairs
from serve_app.engine.options import EngineOptions
from serve_app.engine.request import Plan
from serve_app.engine.step import Step
from tests.parts.engine.conftest import CONTEXT, SHAPE, VOCAB
from tests.unit.engine.conftest import segment

CPU = torch.device("cpu")
PROMPT = [random.Random(5).randrange(VOCAB) for _ in range(30)]
SMALL = {key: SHAPE[key] for key in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")}
MOE = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "head_dim": 32}
FUSED = {
    "llama": LlamaConfig(**SHAPE, tie_word_embeddings=True),
    "llama-with-biases": LlamaConfig(**SHAPE, attention_bias=True, mlp_bias=True),
    "llama-with-wide-heads": LlamaConfig(**SHAPE, head_dim=64),
    "llama-3-rope": LlamaConfig(
        **SHAPE,
        rope_parameters={
            **{"rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, "low_freq_factor": 1.0},
            **{"high_freq_factor": 4.0, "original_max_position_embeddings": 16},
        },
    ),
    "mistral": MistralConfig(**SHAPE, sliding_window=CONTEXT),
    "qwen2": Qwen2Config(**SHAPE),
}
GENERIC = {
    "qwen3": Qwen3Config(**SHAPE, head_dim=32),
    "phi3": Phi3Config(**SHAPE, sliding_window=CONTEXT, pad_token_id=0, bos_token_id=0, eos_token_id=0),
    "granite": GraniteConfig(**SHAPE, attention_multiplier=0.3, residual_multiplier=0.5, logits_scaling=2.0),
    "llama-gelu": LlamaConfig(**SHAPE, hidden_act="gelu"),
    "gpt-neox": GPTNeoXConfig(**SMALL, intermediate_size=80, max_position_embeddings=256, eos_token_id=0),
    "opt": OPTConfig(**SMALL, ffn_dim=80, word_embed_proj_dim=96, max_position_embeddings=256),
    "mixture-of-experts": Qwen3MoeConfig(**SHAPE, **MOE),
}
ODD_HEADS = LlamaConfig(**SHAPE, head_dim=160)
"""No native kernel knows them."""


def saved(config, path):
    """Random weights of that configuration, written to `path`; the model."""
    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_config(config).eval()
    for parameter in model.parameters():
        if parameter.dim() > 1 or parameter.abs().sum() == 0:  # biases too, which start as zeros
            torch.nn.init.normal_(parameter, std=0.15)
    model.save_pretrained(path)
    return model


def assembled(path, kernels, **options):
    fields = {"dtype": "float32", "linear": "plain", "kernels": kernels, "max_context_tokens": CONTEXT, "max_rows": 4}
    return lambda folder: assemble(path, EngineOptions(**{**fields, **options}), folder)


def logits_of(assembly, *segments):
    step = Step(Plan(segments), CPU, assembly.bank.scratch_ranks)
    with torch.inference_mode():
        return assembly.runner._decoder.forward(step)


def assert_computes_as(assembly, wanted):
    """`wanted`: transformers' logits of PROMPT. In one piece, in pieces beside another row, and with drafts."""
    close = {"rtol": 0, "atol": 2e-5 * float(wanted.abs().max()) + 1e-6}
    whole = logits_of(assembly, segment(0, 0, PROMPT, sampled=len(PROMPT)))
    torch.testing.assert_close(whole, wanted, **close)
    assert len(logits_of(assembly, segment(1, 0, PROMPT[:7], sampled=0))) == 0
    mixed = logits_of(assembly, segment(2, 0, PROMPT[:25]), segment(1, 7, PROMPT[7:28], sampled=3))
    torch.testing.assert_close(mixed, wanted[[24, 25, 26, 27]], **close)
    decoded = logits_of(assembly, segment(1, 28, PROMPT[28:29]), segment(2, 25, PROMPT[25:], sampled=5))
    torch.testing.assert_close(decoded, wanted[[28, 25, 26, 27, 28, 29]], **close)


def reference_logits(model):
    with torch.inference_mode():
        return model(input_ids=torch.tensor([PROMPT]), use_cache=False).logits[0]


@pytest.mark.parametrize("name", [*FUSED, *GENERIC])
def test_logits_are_those_of_transformers(name, tmp_path, kernel_folder):
    decoder, config = ("fused", FUSED[name]) if name in FUSED else ("generic", GENERIC[name])
    wanted = reference_logits(saved(config, tmp_path))
    for kernels in ("native", "plain"):
        assembly = assembled(tmp_path, kernels)(kernel_folder)
        assert (assembly.decoder, assembly.kernels) == (decoder, kernels)
        assert_computes_as(assembly, wanted)


@pytest.mark.parametrize("name", ["qwen2", "qwen3"])
def test_logits_with_packed_products(name, tmp_path, kernel_folder):
    wanted = reference_logits(saved({**FUSED, **GENERIC}[name], tmp_path))
    assert_computes_as(assembled(tmp_path, "native", linear="packed")(kernel_folder), wanted)


@pytest.mark.parametrize("name", ["llama", "qwen3"])
def test_logits_in_bfloat16_are_as_near_as_those_of_transformers(name, tmp_path, kernel_folder):
    exact = reference_logits(saved({**FUSED, **GENERIC}[name], tmp_path))
    theirs = reference_logits(AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.bfloat16)).float()
    for kernels in ("native", "plain"):
        assembly = assembled(tmp_path, kernels, dtype="bfloat16")(kernel_folder)
        ours = logits_of(assembly, segment(0, 0, PROMPT, sampled=len(PROMPT))).float()
        assert (ours - exact).norm() < 1.3 * (theirs - exact).norm()


def test_heads_that_no_native_kernel_knows_are_computed_by_plain_ones(tmp_path, kernel_folder):
    wanted = reference_logits(saved(ODD_HEADS, tmp_path))
    assembly = assembled(tmp_path, "auto")(kernel_folder)
    assert (assembly.decoder, assembly.kernels) == ("fused", "plain")
    assert_computes_as(assembly, wanted)


def test_linear_layers_of_widths_that_no_native_kernel_knows_are_computed_by_plain_ones(tmp_path, kernel_folder):
    """An adapter may act on a gate with one output, and the native kernels write 16 at a time."""
    shared = {"shared_expert_intermediate_size": 32}
    config = Qwen2MoeConfig(**SHAPE, **{name: MOE[name] for name in MOE if name != "head_dim"}, **shared)
    wanted = reference_logits(saved(config, tmp_path))
    assembly = assembled(tmp_path, "auto")(kernel_folder)
    assert (assembly.decoder, assembly.kernels) == ("generic", "plain")
    assert_computes_as(assembly, wanted)


@pytest.mark.parametrize("name", [*FUSED, *GENERIC])
def test_fused_decoder_takes_the_models_it_computes_and_no_other(name):
    assert fused.fits(SimpleNamespace(config={**FUSED, **GENERIC}[name])) == (name in FUSED)


def test_model_with_an_attention_of_its_own_is_refused_before_it_answers_wrongly(tmp_path, kernel_folder):
    config = FalconConfig(**SMALL, max_position_embeddings=256)
    saved(config, tmp_path)
    assembly = assembled(tmp_path, "plain")(kernel_folder)
    with pytest.raises(EngineError, match="does not take its attention from transformers' interface"):
        assembly.runner.warm_up()


ATTENTION_ARGUMENTS = {"softcap": 50.0, "s_aux": torch.zeros(3), "position_bias": torch.zeros(1), "sliding_window": 8}


@pytest.fixture
def module(tmp_path, kernel_folder):
    """An attention module of a generic decoder in the middle of a step of two tokens."""
    saved(GENERIC["qwen3"], tmp_path)
    decoder = assembled(tmp_path, "plain")(kernel_folder).runner._decoder
    decoder._state.step = Step(Plan((segment(0, 0, [1, 2]),)), CPU)
    return decoder._model.model.layers[0].self_attn


def attend(module, mask=None, key_heads=1, dim=32, **arguments):
    query, key = torch.zeros(1, 3, 2, dim), torch.zeros(1, key_heads, 2, dim)
    return generic._attend(module, query, key, key, mask, scaling=1.0, **arguments)[0]


@pytest.mark.parametrize("name", list(ATTENTION_ARGUMENTS))
def test_argument_of_attention_that_is_not_implemented_is_refused_by_name(module, name):
    with pytest.raises(EngineError, match=f"attention needs {name}"):
        attend(module, **{name: ATTENTION_ARGUMENTS[name]})


def test_mask_and_heads_that_are_not_the_caches_are_refused(module):
    with pytest.raises(EngineError, match="needs a mask"):
        attend(module, mask=torch.zeros(2, 2))
    for odd in ({"key_heads": 3}, {"dim": 64}):
        with pytest.raises(EngineError, match="not those its configuration names"):
            attend(module, **odd)


def test_arguments_of_attention_that_change_nothing_are_taken(module):
    no_values = dict.fromkeys(ATTENTION_ARGUMENTS)
    assert attend(module, **no_values, dropout=0.0).shape == (1, 2, 3, 32)
    assert attend(module, sliding_window=CONTEXT).shape == (1, 2, 3, 32)


def test_linear_layer_that_sees_some_of_the_tokens_cannot_have_an_adapter(tiny, module):
    assembly = tiny.assemble("generic-plain")
    state = assembly.runner._decoder._state
    layer = assembly.runner._decoder._model.model.layers[0].mlp.down_proj
    state.step = Step(Plan((segment(0, 0, [1, 2], adapter_slot=2),)), CPU)
    assert layer(torch.zeros(1, 2, 80)).shape == (1, 2, 96)
    with pytest.raises(EngineError, match=r"cannot act on model\.layers\.0\.mlp\.down_proj"):
        layer(torch.zeros(1, 1, 80))


@pytest.mark.parametrize("way", ["fused-native", "generic-native"])
def test_decoder_of_the_base_is_not_changed_by_adapters_and_back(tiny, way):
    assembly = tiny.assemble(way)
    tokens = segment(0, 0, PROMPT, sampled=3)
    before = logits_of(assembly, tokens)
    adapted = logits_of(assembly, segment(1, 0, PROMPT, sampled=3, adapter_slot=1))
    assembly.bank.write(1, {})
    assert torch.equal(logits_of(assembly, tokens), before)
    assert torch.equal(logits_of(assembly, segment(1, 0, PROMPT, sampled=3, adapter_slot=1)), before)
    assembly.bank.write(1, read_pairs(tiny.adapters[1], assembly.target))
    assert torch.equal(logits_of(assembly, segment(1, 0, PROMPT, sampled=3, adapter_slot=1)), adapted)
    assert not torch.allclose(adapted, before)


def test_sizes_are_read_off_the_configuration():
    shape = ModelShape.of(Qwen3Config(**SHAPE, head_dim=64))
    assert (shape.num_layers, shape.query_heads, shape.key_heads, shape.head_dim) == (2, 3, 1, 64)
    assert shape.widths == {96, 80, 64, 32}
    assert ModelShape.of(OPTConfig(**SMALL, ffn_dim=80)).key_heads == 3


def test_configuration_without_a_size_is_one_clear_error():
    with pytest.raises(EngineError, match=r"lacks a size that serving needs: .*num_attention_heads"):
        ModelShape.of(SimpleNamespace(hidden_size=8))
