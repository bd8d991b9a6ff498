"""The native kernels against torch operations, in both number types, and the choice between them."""

import math
import random

import pytest
import torch

from serve_app.engine.bank import AdapterBank, LoraPair, SiteShape
from serve_app.engine.cache import SlotLayer
from serve_app.engine.kernels import choose_kernels
from serve_app.engine.kernels.native import HEAD_DIMS
from serve_app.engine.kernels.plain import PlainKernels
from serve_app.engine.kernels.protocol import Heads
from serve_app.engine.request import Plan
from serve_app.engine.step import Step
from tests.unit.engine.conftest import segment

CPU = torch.device("cpu")
DTYPES = [torch.float32, torch.bfloat16]
ERROR = {torch.float32: 1e-5, torch.bfloat16: 1e-2}
"""Norm of the difference over the norm of the result."""


@pytest.fixture(autouse=True)
def same_numbers():
    torch.manual_seed(0)


@pytest.fixture(scope="module", params=DTYPES, ids=str)
def dtype(request):
    return request.param


@pytest.fixture(scope="module")
def native(kernel_folder, dtype):
    return choose_kernels("native", dtype, CPU, {32}, 32, kernel_folder)


plain = PlainKernels()


def assert_alike(found, wanted):
    assert found.shape == wanted.shape and found.dtype == wanted.dtype
    difference = (found.float() - wanted.float()).norm() / wanted.float().norm().clamp_min(1e-20)
    assert float(difference) < ERROR[found.dtype]


@pytest.mark.parametrize("dim", [16, 96, 576])
@pytest.mark.parametrize("tokens", [1, 7])
@pytest.mark.parametrize("first", [True, False])
def test_norm_adds_in_place_and_scales(native, dtype, dim, tokens, first):
    hidden, weight = torch.randn(tokens, dim).to(dtype), torch.randn(dim).to(dtype)
    delta = None if first else torch.randn(tokens, dim).to(dtype)
    ours, theirs = hidden.clone(), hidden.clone()
    assert_alike(native.add_norm(ours, delta, weight, 1e-5), plain.add_norm(theirs, delta, weight, 1e-5))
    assert torch.equal(ours, theirs)


def test_norm_of_zeros_is_zero_and_nan_stays_in_its_row(native, dtype):
    hidden = torch.zeros(3, 32, dtype=dtype)
    hidden[1, 5] = math.nan
    out = native.add_norm(hidden, None, torch.ones(32, dtype=dtype), 1e-5)
    assert not out[[0, 2]].any() and out[1].isnan().all()


@pytest.mark.parametrize("tokens", [1, 9])
def test_gated_unit(native, dtype, tokens):
    gate_up = (4 * torch.randn(tokens, 2 * 80)).to(dtype)
    assert_alike(native.silu_mul(gate_up), plain.silu_mul(gate_up))


def test_gated_unit_at_the_ends_of_the_number_line(native, dtype):
    gate = torch.tensor([0.0, -0.0, 60.0, -60.0, 200.0, -200.0, 3e38, -3e38, math.inf, -math.inf, math.nan] + [1.0] * 5)
    gate_up = torch.cat([gate, torch.ones(16)])[None].to(dtype)
    found, wanted = native.silu_mul(gate_up).float(), plain.silu_mul(gate_up.float())
    torch.testing.assert_close(found, wanted, rtol=1e-2, atol=1e-30, equal_nan=True)


WIDTHS = [(576, 192, 192), (96,), (80, 16)]
LENGTHS = {None: [2, 1], 0: [1, 3], 1: [1], 2: [9, 1], 3: [5]}
"""Adapter slot -> tokens of its segments."""


def lora_step(scratch_ranks):
    segments = [
        segment(10 * (slot or 0) + place, 0, [1] * length, adapter_slot=slot)
        for slot, lengths in LENGTHS.items()
        for place, length in enumerate(lengths)
    ]
    return Step(Plan(tuple(segments)), CPU, scratch_ranks)


@pytest.mark.parametrize("kernels", ["native", "plain"])
@pytest.mark.parametrize("widths", WIDTHS)
def test_each_token_gets_its_adapter_of_whatever_rank_and_members(kernel_folder, dtype, kernels, widths):
    chosen = choose_kernels(kernels, dtype, CPU, {32}, 32, kernel_folder)
    paths = [f"member-{index}" for index in range(len(widths))]
    bank = AdapterBank([SiteShape(tuple(paths), 96, widths)], 4, 16, dtype, CPU, chosen.tiled)
    bank.write(1, make_pairs(16, paths, widths))  # what was there before must not be seen
    pairs = {slot: make_pairs(rank, paths, widths, skipped=slot) for slot, rank in {0: 3, 1: 7, 2: 16}.items()}
    for slot, matrices in pairs.items():
        bank.write(slot, matrices)
    step = lora_step(bank.scratch_ranks)
    x, out = torch.randn(step.num_tokens, 96).to(dtype), torch.randn(step.num_tokens, sum(widths)).to(dtype)
    wanted = out.float().clone()
    for run in step.runs:
        for path, columns in zip(paths, wanted.split(widths, dim=1), strict=True):
            pair = pairs.get(run.adapter_slot, {}).get(path)
            if pair is not None:
                hidden = x[run.first : run.end].float() @ pair.down.to(dtype).float().t()
                columns[run.first : run.end] += hidden @ pair.up.t() * pair.scaling
    untouched = out[:3].clone()
    chosen.lora(x, out, bank.sites[paths[0]], step)
    assert_alike(out, wanted.to(dtype))
    assert torch.equal(out[:3], untouched)


def make_pairs(rank, paths, widths, skipped=None):
    """Random matrices; the member `skipped` modulo 3 is not targeted."""
    return {
        path: LoraPair(torch.randn(rank, 96), torch.randn(width, rank), 0.5)
        for index, (path, width) in enumerate(zip(paths, widths, strict=True))
        if skipped is None or (index + skipped) % 3 != 1
    }


def test_infinite_activation_of_one_row_does_not_reach_another(native, dtype):
    bank = AdapterBank([SiteShape(("only",), 32, (32,))], 2, 8, dtype, CPU, native.tiled)
    for slot in range(2):
        bank.write(slot, {"only": LoraPair(torch.randn(8, 32), torch.randn(32, 8), 1.0)})
    step = Step(Plan(tuple(segment(slot, 0, [1], adapter_slot=slot) for slot in range(2))), CPU, bank.scratch_ranks)
    x, clean, mixed = torch.ones(2, 32, dtype=dtype), torch.zeros(2, 32, dtype=dtype), torch.zeros(2, 32, dtype=dtype)
    native.lora(x, clean, bank.sites["only"], step)
    x[0] = math.inf
    native.lora(x, mixed, bank.sites["only"], step)
    assert torch.equal(mixed[1], clean[1])


SPANS = [(2, 17, 4), (0, 0, 1), (1, 15, 1), (3, 31, 2), (4, 0, 20), (5, 46, 1)]
"""Of one batch: slot, first position, tokens."""


@pytest.mark.parametrize(("query", "key"), [(1, 1), (3, 1), (4, 4), (10, 2), (7, 1)])
@pytest.mark.parametrize("dim", HEAD_DIMS)
def test_attention_of_rows_of_different_length_over_their_slots(native, dtype, query, key, dim):
    step = Step(Plan(tuple(segment(slot, start, [1] * length) for slot, start, length in SPANS)), CPU)
    layers = [SlotLayer((6, key, 48, dim), dtype, CPU) for _ in range(2)]
    past = torch.randn(2, 6, key, 48, dim).to(dtype)
    for layer in layers:
        layer.keys[:], layer.values[:] = past
    angles = (torch.rand(step.num_tokens, dim // 2) * 6).repeat(1, 2)
    rotary = angles.cos().to(dtype), angles.sin().to(dtype)
    qkv = torch.randn(step.num_tokens, (query + 2 * key) * dim).to(dtype)
    heads = Heads(query, key, dim, dim**-0.5)
    found = native.attend(qkv.clone(), rotary, layers[0], step, heads)
    assert_alike(found, plain.attend(qkv.clone(), rotary, layers[1], step, heads))
    assert_alike(layers[0].keys, layers[1].keys)
    assert torch.equal(layers[0].values, layers[1].values)
    written = torch.zeros(6, 48, dtype=torch.bool)
    written[step.slots, step.positions] = True
    kept = ~written[:, None, :, None].expand_as(past[0])
    assert torch.equal(layers[0].keys[kept], past[0][kept])


def test_keys_behind_a_rows_position_and_in_other_slots_are_not_looked_at(native, dtype):
    heads, qkv = Heads(2, 1, 32, 1.0), torch.randn(2, 4 * 32).to(dtype)
    step = Step(Plan((segment(1, 20, [1, 1]),)), CPU)
    layers = [SlotLayer((3, 1, 48, 32), dtype, CPU) for _ in range(2)]
    for tensor in (layers[0].keys, layers[0].values):
        tensor.fill_(math.nan)
        tensor[1, :, :20] = 0
    found = native.attend(qkv.clone(), None, layers[0], step, heads)
    assert_alike(found, plain.attend(qkv.clone(), None, layers[1], step, heads))


def assert_same_stats(found, wanted):
    fine = wanted.entropy.isfinite()
    assert torch.equal(found.entropy.isfinite(), fine)
    for name in ("best_ids", "best", "second"):
        assert torch.equal(getattr(found, name)[fine], getattr(wanted, name)[fine]), name
    for name in ("log_sum_exp", "entropy"):
        torch.testing.assert_close(getattr(found, name)[fine], getattr(wanted, name)[fine], rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("vocab", [1, 2, 16, 97, 1000])
@pytest.mark.parametrize("spread", [0.0, 3.0, 40.0])
def test_statistics_of_logits(native, dtype, vocab, spread):
    logits = (spread * torch.randn(5, vocab)).to(dtype)
    before = logits.clone()
    assert_same_stats(native.logit_stats(logits), plain.logit_stats(logits))
    assert torch.equal(logits, before)


def test_lowest_id_wins_a_tie_and_the_second_is_as_good(native, dtype):
    generator = random.Random(0)
    for _ in range(50):
        logits, places = torch.zeros(1, 70, dtype=dtype), sorted(generator.sample(range(70), 2))
        logits[0, places] = 2.0
        stats = native.logit_stats(logits)
        assert stats.best_ids.tolist() == places[:1] and stats.best == stats.second == 2.0


@pytest.mark.parametrize("place", [0, 15, 16, 63, 64, 69])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_logit_that_is_not_finite_shows_in_its_row_alone(native, dtype, place, value):
    logits = torch.randn(3, 70).to(dtype)
    logits[1, place] = value
    stats = native.logit_stats(logits)
    assert stats.entropy.isfinite().tolist() == [True, value == -math.inf, True]
    assert_same_stats(stats, plain.logit_stats(logits))


def test_row_without_any_possible_token_is_not_finite(native, dtype):
    logits = torch.full((2, 33), -math.inf, dtype=dtype)
    logits[1, 32] = 1.0
    stats = native.logit_stats(logits)
    assert stats.entropy.isfinite().tolist() == [False, True]
    assert (stats.best_ids[1], stats.best[1], stats.second[1], stats.entropy[1]) == (32, 1.0, -math.inf, 0.0)


def test_logits_that_are_not_dense_are_read_right(native, dtype):
    logits = torch.randn(40, 6).to(dtype).t()
    assert_same_stats(native.logit_stats(logits), plain.logit_stats(logits))


@pytest.mark.parametrize("other", [torch.float32, torch.bfloat16, torch.float16])
def test_logits_may_be_of_another_type_than_the_model(native, other):
    """Those of an ensemble are float32 whatever the model is, and some models widen theirs."""
    logits = torch.randn(3, 97).to(other)
    assert_same_stats(native.logit_stats(logits), plain.logit_stats(logits))
