import math
import random

import pytest
import torch

from serve_app.engine.request import Discard, Request, Row
from serve_app.engine.sampler import sample


def row(seed=1, **fields):
    return Row(Request("r", (1,), 1, Discard(), **fields), 0, random.Random(seed))


def test_greedy_reports_logprob_entropy_margin_and_alternatives_at_temperature_1():
    (token,) = sample(torch.log(torch.tensor([[0.1, 0.6, 0.3]])), [row(top_logprobs=3)])
    assert token.token_id == 1
    assert token.logprob == pytest.approx(math.log(0.6), abs=1e-6)
    assert token.entropy == pytest.approx(-sum(p * math.log(p) for p in (0.1, 0.6, 0.3)), abs=1e-6)
    assert token.margin == pytest.approx(math.log(2), abs=1e-6)
    assert [token_id for token_id, _ in token.top] == [1, 2, 0]


def test_statistics_do_not_depend_on_the_sampling_temperature():
    logits = torch.randn(1, 50)
    cold, hot = sample(logits, [row()])[0], sample(logits, [row(temperature=3.0, seed=5)])[0]
    assert (cold.entropy, cold.margin) == (hot.entropy, hot.margin)


def test_sampled_frequencies_follow_the_tempered_distribution():
    logits = torch.log(torch.tensor([0.5, 0.3, 0.2]))
    one = row(temperature=0.5)
    counts = [0, 0, 0]
    for _ in range(2000):
        counts[sample(logits[None], [one])[0].token_id] += 1
    expected = torch.softmax(logits / 0.5, -1).tolist()
    assert [count / 2000 for count in counts] == pytest.approx(expected, abs=0.04)


@pytest.mark.parametrize(("top_p", "allowed"), [(0.5, {1}), (0.61, {1, 2}), (0.95, {0, 1, 2}), (1e-9, {1})])
def test_top_p_keeps_the_fewest_tokens_that_reach_it(top_p, allowed):
    logits = torch.log(torch.tensor([[0.1, 0.6, 0.3]]))
    one = row(temperature=1.0, top_p=top_p)
    assert {sample(logits, [one])[0].token_id for _ in range(200)} == allowed


def test_top_p_over_a_flat_vocabulary_larger_than_the_first_guess_is_exact():
    one = row(temperature=1.0, top_p=0.9)
    tokens = [sample(torch.zeros(1, 5000), [one])[0].token_id for _ in range(100)]
    assert len(set(tokens)) > 80


def test_row_that_is_not_finite_is_none_and_leaves_the_others_alone():
    logits = torch.tensor([[1.0, 2.0], [float("nan"), 1.0], [1.0, float("-inf")]])
    first, bad, masked = sample(logits, [row(), row(), row()])
    assert first.token_id == 1 and bad is None and masked.token_id == 0 and masked.entropy == 0.0


@pytest.mark.parametrize(
    "fields", [{"temperature": 1.0, "top_p": 1e-300}, {"temperature": 1e-300}, {"temperature": 1e-40, "top_p": 0.5}]
)
def test_parameters_too_small_for_float32_mean_the_best_token(fields):
    logits = torch.log(torch.tensor([[0.3, 0.5, 0.2]]))
    assert sample(logits, [row(**fields)])[0].token_id == 1
