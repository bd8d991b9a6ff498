"""The fused layers on packed batches against transformers with PEFT on padded ones: same losses, same gradients."""

import pytest

torch = pytest.importorskip("torch")

from peft import LoraConfig, get_peft_model  # noqa: E402  (torch first)
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM  # noqa: E402

from serve_app.training import attention  # noqa: E402
from serve_app.training.base import Trainee  # noqa: E402
from serve_app.training.decoder import Decoder, can_decode  # noqa: E402
from serve_app.training.lora import packed_nll, target_nll  # noqa: E402
from serve_app.training.options import LINEAR_MODULES  # noqa: E402
from serve_app.training.plan import Example  # noqa: E402

# PEFT reads a property that transformers 5 has renamed
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

SIZES = {
    "vocab_size": 40, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.3,
}  # fmt: skip
SHARED = (3, 4, 5, 6, 7)
ROWS = [
    Example((*SHARED, 8, 9, 10, 11), 6),
    Example((*SHARED, 8, 9, 10, 11), 6),  # the same row again
    Example((*SHARED, 8, 12), 6),  # another answer to the same prompt
    Example((*SHARED, 13, 14, 15, 16, 17, 18, 19), 9),
    Example((20, 21, 22), 1),  # shares nothing
    Example(SHARED, 3),  # ends where others go on
]


def trainee(model, modules=LINEAR_MODULES, dtype=torch.float32):
    config = LoraConfig(r=4, lora_alpha=6, target_modules=list(modules), task_type="CAUSAL_LM")
    adapted = get_peft_model(model, config, autocast_adapter_dtype=False).to(dtype)
    torch.manual_seed(2)
    for name, parameter in adapted.named_parameters():
        if parameter.requires_grad:
            parameter.data.normal_(std=0.2)
        elif name.endswith(("norm.weight", "bias")):  # ones and zeros would hide a mistake
            parameter.data.add_(torch.randn_like(parameter) * 0.3)
    return Trainee(adapted, None, torch.device("cpu"), dtype)


def llama(**changes):
    torch.manual_seed(1)
    return LlamaForCausalLM(LlamaConfig(**SIZES | changes))


def qwen2():
    torch.manual_seed(1)
    return Qwen2ForCausalLM(Qwen2Config(**SIZES))


def losses_and_gradients(one, nll):
    one.model.zero_grad(set_to_none=True)
    losses = nll(one, ROWS)
    (losses * torch.linspace(0.5, 1.5, len(losses))).sum().backward()
    return losses.detach(), {name: parameter.grad for name, parameter in one.trainable().items()}


def check_close(actual, expected):
    torch.testing.assert_close(actual[0], expected[0], rtol=1e-4, atol=1e-5)
    for name, gradient in expected[1].items():
        assert (actual[1][name] - gradient).norm() < 1e-4 * gradient.norm(), name


def check_same(one):
    expected = losses_and_gradients(one, target_nll)
    one.decoder = Decoder(one.model)
    actual = losses_and_gradients(one, packed_nll)
    check_close(actual, expected)
    # the layers of PEFT now see views of the fused matrices, and must say the same as before
    check_close(losses_and_gradients(one, target_nll), expected)


@pytest.mark.parametrize("written_out", [0, 320])
@pytest.mark.parametrize("make", [llama, qwen2])
def test_losses_and_gradients_are_those_of_the_padded_way(make, written_out, monkeypatch):
    monkeypatch.setattr(attention, "_WRITTEN_OUT_TOKENS", written_out)
    check_same(trainee(make()))


@pytest.mark.parametrize("modules", [("q_proj", "v_proj"), ("k_proj", "up_proj"), ("down_proj",)])
def test_layers_without_an_adapter_are_left_as_they_are(modules):
    check_same(trainee(llama(attention_bias=True, mlp_bias=True), modules))


def test_updates_are_seen_after_a_refresh():
    one = trainee(llama())
    one.decoder = Decoder(one.model)
    for parameter in one.trainable().values():
        parameter.data.mul_(-0.5)
    one.refresh()
    torch.testing.assert_close(packed_nll(one, ROWS), target_nll(one, ROWS), rtol=1e-4, atol=1e-5)


def test_bfloat16_is_as_near_to_float32_as_the_padded_way():
    exact = losses_and_gradients(trainee(llama()), target_nll)[0]
    one = trainee(llama(), dtype=torch.bfloat16)
    plain = losses_and_gradients(one, target_nll)[0]
    one.decoder = Decoder(one.model)
    packed = losses_and_gradients(one, packed_nll)[0]
    assert (packed - exact).norm() < 1.5 * (plain - exact).norm() + 0.05


def test_bases_with_other_layers_are_left_to_the_padded_way():
    assert can_decode(trainee(llama()).model)
    assert not can_decode(trainee(llama(hidden_act="gelu")).model)
    sliding = Qwen2Config(**SIZES, use_sliding_window=True, sliding_window=4, max_window_layers=1)
    assert not can_decode(trainee(Qwen2ForCausalLM(sliding)).model)
