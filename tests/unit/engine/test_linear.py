import pytest
import torch
from torch import nn
from torch.nn import functional

from serve_app.core import ConfigError
from serve_app.engine.linear import KINDS, make_linear, obstacle, settle

CPU = torch.device("cpu")
LOSS = {"plain": 0.005, "packed": 0.005, "int8": 0.015, "int4": 0.1}
"""Relative error of each kind on weights and inputs drawn from a normal distribution."""


def usable(kind: str, dtype: torch.dtype = torch.bfloat16) -> None:
    if reason := obstacle(kind, dtype, CPU):
        pytest.skip(reason)


def layers(outs: tuple[int, ...], dtype: torch.dtype = torch.bfloat16, bias: tuple[bool, ...] = ()) -> list[nn.Linear]:
    torch.manual_seed(3)
    biases = bias or (False,) * len(outs)
    made = [nn.Linear(64, out, bias=has, dtype=dtype) for out, has in zip(outs, biases, strict=True)]
    for layer in made:
        nn.init.normal_(layer.weight, std=0.1)
    return made


def inputs(*shape: int, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
    return torch.randn(*shape, 64, generator=torch.Generator().manual_seed(5)).to(dtype)


def expected(made: list[nn.Linear], x: torch.Tensor) -> torch.Tensor:
    outs = []
    for layer in made:
        bias = None if layer.bias is None else layer.bias.double()
        outs.append(functional.linear(x.double(), layer.weight.double(), bias))
    return torch.cat(outs, dim=-1).detach()


def error(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found.double() - wanted).norm() / wanted.norm())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bias", [(False, False, False), (True, False, True)])
def test_fused_layers_answer_as_each_alone(kind, bias):
    usable(kind)
    made = layers((32, 16, 48), bias=bias)
    x = inputs(1, 9)
    out = make_linear(kind, made)(x)
    assert out.shape == (1, 9, 96) and out.dtype == torch.bfloat16
    assert error(out, expected(made, x)) < LOSS[kind]


@pytest.mark.parametrize("kind", ["plain", "packed", "int8"])
def test_float32_stays_float32(kind):
    usable(kind, torch.float32)
    made, x = layers((32,), torch.float32, (True,)), inputs(3, dtype=torch.float32)
    out = make_linear(kind, made)(x)
    assert out.dtype == torch.float32
    assert error(out, expected(made, x)) < (1e-5 if kind != "int8" else LOSS[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_does_not_depend_on_those_beside_it(kind):
    usable(kind)
    product, x = make_linear(kind, layers((32,))), inputs(1, 8)
    loud = x.clone()
    loud[:, 1:] *= 1000
    torch.testing.assert_close(product(loud)[:, :1], product(x[:, :1]), rtol=0.01, atol=0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_finite_stays_so_and_in_its_row(kind):
    usable(kind)
    x = inputs(1, 4)
    x[0, 1, 7], x[0, 2, 7] = torch.nan, torch.inf
    finite = torch.isfinite(make_linear(kind, layers((32,)))(x)).all(dim=-1)
    assert finite[0].tolist() == [True, False, False, True]


@pytest.mark.parametrize("kind", KINDS)
def test_zeros_give_the_bias(kind):
    usable(kind)
    made = layers((32,), bias=(True,))
    out = make_linear(kind, made)(torch.zeros(1, 2, 64, dtype=torch.bfloat16))
    assert torch.equal(out[0, 0], made[0].bias.detach())


@pytest.mark.parametrize("kind", KINDS)
def test_constant_and_zero_weights_are_exact(kind):
    usable(kind)
    made = layers((32,))
    with torch.no_grad():
        made[0].weight[:16] = 0.0
        made[0].weight[16:] = 0.5
    out = make_linear(kind, made)(torch.ones(1, 64, dtype=torch.bfloat16))
    assert out[0, :16].abs().max() < 1e-6
    torch.testing.assert_close(out[0, 16:], torch.full((16,), 32.0, dtype=torch.bfloat16), rtol=0.01, atol=0.0)


@pytest.mark.parametrize("kind", ["int8", "int4"])
def test_a_head_of_more_outputs_than_a_block_keeps_their_order(kind, monkeypatch):
    usable(kind)
    monkeypatch.setattr("serve_app.engine.linear._BLOCK_ROWS", 20)
    made, x = layers((48, 16)), inputs(2)
    assert error(make_linear(kind, made)(x), expected(made, x)) < LOSS[kind]


def test_plain_of_one_layer_shares_its_weights():
    made = layers((32,))
    (weight,) = make_linear("plain", made).buffers()
    assert weight.data_ptr() == made[0].weight.data_ptr()


@pytest.mark.parametrize(
    ("kind", "dtype", "says"),
    [
        ("int3", torch.bfloat16, "plain, packed, int8, int4"),
        ("int4", torch.float32, "bfloat16"),
        ("packed", torch.float16, "float16"),
    ],
)
def test_a_kind_that_cannot_be_used_says_why_and_what_to_set(kind, dtype, says):
    with pytest.raises(ConfigError, match=f"{kind}.*{says}.*set linear to"):
        make_linear(kind, layers((32,), dtype))


def test_int4_names_the_shape_that_does_not_fit():
    with pytest.raises(ConfigError, match=r"\[20, 64\]"):
        make_linear("int4", layers((20,)))


def test_only_plain_runs_off_the_cpu():
    gpu = torch.device("cuda")
    assert [kind for kind in KINDS if not obstacle(kind, torch.bfloat16, gpu)] == ["plain"]


def test_obstacles_of_the_machine_are_asked_for(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False)
    assert "VNNI" in obstacle("int8", torch.bfloat16, CPU)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert "oneDNN" in obstacle("packed", torch.bfloat16, CPU)
    assert not obstacle("plain", torch.bfloat16, CPU)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bias", [False, True])
def test_no_tokens_give_no_results(kind, bias):
    """The head, in a step of prompt chunks that are not sampled."""
    usable(kind)
    out = make_linear(kind, layers((32, 16), bias=(bias, bias)))(torch.empty(0, 64, dtype=torch.bfloat16))
    assert out.shape == (0, 48)


def test_large_pages_change_nothing() -> None:
    usable("packed")
    made, x = layers((32, 48)), inputs(5)
    product = make_linear("packed", made)
    before = product(x)
    settle([product, nn.Identity()])
    assert torch.equal(product(x), before)
