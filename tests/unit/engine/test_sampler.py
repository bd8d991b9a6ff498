import math
import random
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.engine.request import Discard, Ensemble, Request, Row, Segment
from serve_app.engine.sampler import logit_stats, sample
from tests.properties import examples

VOCAB = 7


def row(seed=1, **fields):
    return Row(Request("r", (1,), 1, Discard(), **fields), 0, None, random.Random(seed))


def segment(one, draft=()):
    return Segment(one, 4, (0, *draft), 1 + len(draft))


def tokens(logits, rows, **options):
    """One token for each row, drafts and ensembles aside."""
    outcomes = sample(logits, [segment(one) for one in rows], **options)
    assert all(outcome is None or len(outcome) == 1 for outcome in outcomes)
    return [outcome and outcome[0] for outcome in outcomes]


def untouchable(logits):
    """Logits that nothing but the given statistics may read."""
    return torch.empty(logits.shape, device="meta"), lambda _: logit_stats(logits)


def test_greedy_reports_logprob_entropy_margin_and_alternatives_at_temperature_1():
    (token,) = tokens(torch.log(torch.tensor([[0.1, 0.6, 0.3]])), [row(top_logprobs=3)])
    assert token.token_id == 1
    assert token.logprob == pytest.approx(math.log(0.6), abs=1e-6)
    assert token.entropy == pytest.approx(-sum(p * math.log(p) for p in (0.1, 0.6, 0.3)), abs=1e-6)
    assert token.margin == pytest.approx(math.log(2), abs=1e-6)
    assert [token_id for token_id, _ in token.top] == [1, 2, 0]
    assert token.top[0][1] == token.logprob


def test_statistics_do_not_depend_on_the_sampling_temperature():
    logits = torch.randn(1, 50)
    cold, hot = tokens(logits, [row()])[0], tokens(logits, [row(temperature=3.0, seed=5)])[0]
    assert (cold.entropy, cold.margin) == (hot.entropy, hot.margin)


def test_sampled_frequencies_follow_the_tempered_distribution():
    logits = torch.log(torch.tensor([0.5, 0.3, 0.2]))
    one = row(temperature=0.5)
    counts = [0, 0, 0]
    for _ in range(2000):
        counts[tokens(logits[None], [one])[0].token_id] += 1
    expected = torch.softmax(logits / 0.5, -1).tolist()
    assert [count / 2000 for count in counts] == pytest.approx(expected, abs=0.04)


@pytest.mark.parametrize(("top_p", "allowed"), [(0.5, {1}), (0.61, {1, 2}), (0.95, {0, 1, 2}), (1e-9, {1})])
def test_top_p_keeps_the_fewest_tokens_that_reach_it(top_p, allowed):
    logits = torch.log(torch.tensor([[0.1, 0.6, 0.3]]))
    one = row(temperature=1.0, top_p=top_p)
    assert {tokens(logits, [one])[0].token_id for _ in range(200)} == allowed


def test_sampled_token_reports_its_own_logprob():
    logits = torch.log(torch.tensor([[0.1, 0.6, 0.3]]))
    one = row(temperature=1.0)
    for token in (tokens(logits, [one])[0] for _ in range(20)):
        assert token.logprob == pytest.approx(float(logits[0, token.token_id]), abs=1e-6)


def test_row_that_is_not_finite_is_none_and_leaves_the_others_alone():
    logits = torch.tensor([[1.0, 2.0], [math.nan, 1.0], [1.0, -math.inf], [math.inf, 1.0], [-math.inf, -math.inf]])
    for fields in ({}, {"temperature": 1.0}, {"temperature": 1e300, "top_p": 0.9, "top_logprobs": 2}):
        first, bad, masked, infinite, nothing = tokens(logits, [row(seed, **fields) for seed in range(5)])
        assert first is not None and bad is None and infinite is None and nothing is None
        assert masked.token_id == 0 and masked.entropy == 0.0 and masked.margin == math.inf


@pytest.mark.parametrize(
    "fields", [{"temperature": 1.0, "top_p": 1e-300}, {"temperature": 1e-300}, {"temperature": 1e-40, "top_p": 0.5}]
)
def test_parameters_too_small_for_float32_mean_the_best_token(fields):
    logits = torch.log(torch.tensor([[0.3, 0.5, 0.2]]))
    assert tokens(logits, [row(**fields)])[0].token_id == 1


def test_nothing_to_sample_gives_nothing():
    assert sample(torch.empty(0, 5), []) == []


def test_the_lowest_id_wins_a_tie_and_leads_the_alternatives():
    logits = torch.zeros(1, 3000, dtype=torch.bfloat16)
    logits[0, 100:] = 2.0
    (token,) = tokens(logits, [row(top_logprobs=3)])
    assert token.token_id == 100 and token.margin == 0.0
    assert token.top[0][0] == 100 and len({token_id for token_id, _ in token.top}) == 3


def test_a_vocabulary_smaller_than_the_alternatives_asked_for_gives_all_of_it():
    (token,) = tokens(torch.tensor([[2.0]]), [row(top_logprobs=5)])
    assert token.top == ((0, 0.0),) and token.margin == math.inf and token.entropy == 0.0


def test_greedy_rows_without_alternatives_read_the_statistics_and_not_the_logits():
    logits, stats = untouchable(torch.randn(3, 20))
    assert [token.top for token in tokens(logits, [row(), row(), row()], stats=stats)] == [()] * 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_statistics_agree_with_float64_and_leave_the_logits_alone(dtype):
    logits = (torch.randn(4, 1000) * 5).to(dtype)
    logits[2, ::2] = -math.inf
    kept = logits.clone()
    stats = logit_stats(logits)
    exact = torch.log_softmax(logits.double(), -1)
    assert torch.equal(logits, kept)
    assert torch.equal(stats.best_ids, logits.argmax(-1))
    top = logits.float().topk(2, dim=-1).values
    assert torch.equal(torch.stack((stats.best, stats.second), -1), top)
    torch.testing.assert_close(stats.log_sum_exp.double(), logits.double().logsumexp(-1), atol=1e-5, rtol=0)
    torch.testing.assert_close(stats.entropy.double(), torch.special.entr(exact.exp()).sum(-1), atol=1e-5, rtol=0)


parameters = st.fixed_dictionaries(
    {
        "temperature": st.sampled_from([0.0, 0.3, 1.0, 2.5]),
        "top_p": st.sampled_from([1.0, 0.9, 0.4]),
        "top_logprobs": st.sampled_from([0, 0, 2]),
    }
)


class Language:
    """A model whose logits depend on the last two tokens of the text."""

    def __init__(self, seed, bad=()):
        self._logits = torch.randn(VOCAB, VOCAB, VOCAB, generator=torch.Generator().manual_seed(seed)) * 2
        for last in bad:
            self._logits[:, last, 0] = math.nan

    def logits(self, text):
        return torch.stack([self._logits[text[at - 1], text[at]] for at in range(1, len(text))])


@settings(deadline=None, max_examples=examples(60))
@given(parameters, st.integers(0, 99), st.booleans(), st.randoms(use_true_random=False))
def test_drafts_change_neither_the_answer_nor_its_stream(fields, seed, breaks, chance):
    language = Language(seed, bad=(3,) if breaks else ())
    plain, text, stream_states = row(seed, **fields), [0, 1], {}
    answer = []
    while len(answer) < 24:
        (token,) = tokens(language.logits(text[-2:]), [plain])
        if token is None:
            break
        answer.append(token)
        text.append(token.token_id)
        stream_states[len(answer)] = plain.random.getstate()
    drafted, held = row(seed, **fields), []
    while len(held) < 24:
        known = text[2 + len(held) :][: chance.randrange(4)]
        draft = tuple(token_id if chance.random() < 0.8 else chance.randrange(VOCAB) for token_id in known)
        before = text[len(held) : len(held) + 2]
        (outcome,) = sample(language.logits([*before, *draft]), [segment(drafted, draft)])
        if outcome is None:
            break
        held.extend(outcome)
        assert len(held) > 24 or drafted.random.getstate() == stream_states[len(held)]
    assert [token.token_id for token in held[:24]] == [token.token_id for token in answer]
    for with_draft, without in zip(held, answer, strict=False):
        assert with_draft.logprob == pytest.approx(without.logprob, abs=1e-5)
        assert [token_id for token_id, _ in with_draft.top] == [token_id for token_id, _ in without.top]


def test_a_draft_that_holds_gives_one_token_more_than_it_has():
    logits = torch.eye(4)[[2, 3, 1]]
    for draft, expected in (((2, 3), [2, 3, 1]), ((2, 0), [2, 3]), ((0, 3), [2])):
        (outcome,) = sample(logits, [segment(row(), draft)])
        assert [token.token_id for token in outcome] == expected


@settings(deadline=None, max_examples=examples(60))
@given(st.lists(st.tuples(parameters, st.integers(0, 3)), min_size=1, max_size=6), st.integers(0, 99))
def test_neighbours_change_neither_a_rows_tokens_nor_its_stream(specs, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = [torch.randn(1 + guesses, 40, generator=generator) for _, guesses in specs]
    drafts = [tuple(block[:-1].argmax(-1).tolist()) for block in logits]

    def rows():
        return [row(seed + at, **fields) for at, (fields, _) in enumerate(specs)]

    together, alone = rows(), rows()
    outcomes = sample(torch.cat(logits), [segment(*pair) for pair in zip(together, drafts, strict=True)])
    for at, outcome in enumerate(outcomes):
        (single,) = sample(logits[at], [segment(alone[at], drafts[at])])
        assert [token.token_id for token in outcome] == [token.token_id for token in single]
        assert together[at].random.getstate() == alone[at].random.getstate()


@pytest.mark.parametrize("fields", [{}, {"temperature": 1.0}, {"temperature": 0.7, "top_p": 0.8, "top_logprobs": 2}])
def test_an_ensemble_samples_from_the_average_of_its_members_and_leaves_the_others_alone(fields):
    logits = torch.randn(4, 9)
    average = torch.log_softmax(logits[[1, 3]], -1).mean(0)
    ensemble = Ensemble("e", 2)
    for seed in range(10):
        members = [row(seed, ensemble=ensemble, **fields), row(seed + 50, ensemble=ensemble, **fields)]
        alone = [row(7, **fields), row(8, **fields)]
        before, first, between, second = tokens(logits, [alone[0], members[0], alone[1], members[1]])
        (expected,) = tokens(average[None], [row(seed, **fields)])
        assert first == second and first == expected
        assert [before, between] == tokens(logits[[0, 2]], [row(7, **fields), row(8, **fields)])


def test_members_of_an_ensemble_count_by_their_weights_and_one_that_leaves_hands_on_its_share():
    logits, ensemble = torch.randn(3, 9), Ensemble("e", 3)
    weights = (1.0, 2.0, 5.0)
    members = [row(ensemble=ensemble, weight=weight, temperature=1.0) for weight in weights]
    for count in (3, 2):
        shares = torch.tensor(weights[:count]) / sum(weights[:count])
        average = (torch.log_softmax(logits[:count], -1) * shares[:, None]).sum(0)
        (expected,) = tokens(average[None], [row(temperature=1.0)])
        members[0].random.seed(1)
        assert all(one == expected for one in tokens(logits[:count], members[:count]))
    pair = [row(ensemble=ensemble, weight=1.0), row(ensemble=ensemble, weight=1e-9)]
    (alone,) = tokens(logits[:1], [row()])
    assert all(one.token_id == alone.token_id for one in tokens(logits[:2], pair))


def test_streams_of_an_ensemble_keep_step():
    ensemble = Ensemble("e", 2)
    members = [row(1, ensemble=ensemble, temperature=1.0), row(1, ensemble=ensemble, temperature=1.0)]
    tokens(torch.randn(2, 9), members)
    assert members[0].random.getstate() == members[1].random.getstate() != row(1).random.getstate()


def test_the_last_member_of_an_ensemble_answers_as_if_alone():
    logits = torch.randn(3, 9)
    pair = [row(ensemble=Ensemble("e", 2)), row(ensemble=Ensemble("e", 2))]
    last = row(ensemble=Ensemble("other", 2))
    outcome = tokens(logits, [*pair, last])
    assert outcome[2] == tokens(logits[2:], [row()])[0]


def test_an_ensemble_with_a_member_that_is_not_finite_gets_nothing():
    logits = torch.zeros(3, 5)
    logits[1, 2] = math.nan
    ensemble = Ensemble("e", 2)
    outcome = tokens(logits, [row(ensemble=ensemble), row(ensemble=ensemble), row()])
    assert outcome[0] is None and outcome[1] is None and outcome[2].token_id == 0


def test_given_statistics_are_used():
    logits = torch.tensor([[0.0, 1.0, 2.0]])

    def others(seen):
        return replace(logit_stats(seen), best_ids=torch.tensor([1]))

    assert tokens(logits, [row()], stats=others)[0].token_id == 1
