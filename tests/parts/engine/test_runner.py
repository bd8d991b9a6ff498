"""The engine against the model itself: PEFT and a plain forward pass without any cache are the reference."""

import pytest
import torch

from serve_app.core import EngineError
from serve_app.engine.request import Ensemble, Plan
from tests.parts.engine.conftest import WAYS
from tests.unit.engine.conftest import segment

PROMPTS = [[5, 9, 2], [11, 4, 60, 33, 8, 1, 90], [77], [3, 3, 3, 3, 3], [50, 40, 30, 20, 10, 6, 7, 8, 9], [1, 2, 3, 4]]
ADAPTERS = ["0", "1", None, "2", "1", "0"]
NATIVE = ["fused-native", "generic-native"]
LONG = [7 * place % 97 for place in range(40)]


def plain_greedy(model, prompt, num_tokens):
    """(ids, log-probabilities) by whole forward passes."""
    ids, logprobs = list(prompt), []
    for _ in range(num_tokens):
        with torch.inference_mode():
            last = torch.log_softmax(model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].float(), -1)
        ids.append(int(last.argmax()))
        logprobs.append(float(last.max()))
    return ids[len(prompt) :], logprobs


@pytest.fixture(scope="module")
def models(tiny):
    """By name of the adapter."""
    return {name: tiny.reference(None if name is None else int(name)) for name in set(ADAPTERS)}


@pytest.fixture(scope="module")
def references(models):
    return [plain_greedy(models[adapter], prompt, 12) for prompt, adapter in zip(PROMPTS, ADAPTERS, strict=True)]


def submit_all(driver, **fields):
    return [
        driver.submit(prompt, f"row-{index}", adapter=adapter, **fields)
        for index, (prompt, adapter) in enumerate(zip(PROMPTS, ADAPTERS, strict=True))
    ]


@pytest.mark.parametrize("way", WAYS)
def test_mixed_batch_gives_each_row_the_tokens_and_logprobs_of_peft(tiny, drive, references, way):
    driver = drive(tiny.assemble(way).runner)
    sinks = submit_all(driver)
    driver.finish()
    for sink, (ids, logprobs) in zip(sinks, references, strict=True):
        assert sink.ids == ids
        assert [token.logprob for token in sink.tokens] == pytest.approx(logprobs, abs=1e-4)
    assert len({tuple(sink.ids) for sink in sinks}) == len(sinks), "the adapters must differ for this to prove anything"


def test_mixed_batch_with_packed_products_gives_the_same_tokens(tiny, drive, references):
    driver = drive(tiny.assemble(linear="packed").runner, max_rows=6, step_tokens=7)
    sinks = submit_all(driver)
    driver.finish()
    assert [sink.ids for sink in sinks] == [ids for ids, _ in references]


def test_row_alone_gives_the_same_tokens_as_in_the_mixed_batch(tiny, drive, references):
    runner = tiny.assemble().runner
    for prompt, adapter, (ids, _) in zip(PROMPTS, ADAPTERS, references, strict=True):
        driver = drive(runner)
        sink = driver.submit(prompt, adapter=adapter)
        driver.finish()
        assert sink.ids == ids


@pytest.mark.parametrize("way", NATIVE)
def test_rows_admitted_and_leaving_while_others_decode_change_nothing(tiny, drive, references, way):
    driver = drive(tiny.assemble(way, max_rows=3).runner, max_rows=3)
    sinks = []
    for index, (prompt, adapter) in enumerate(zip(PROMPTS, ADAPTERS, strict=True)):
        sinks.append(driver.submit(prompt, adapter=adapter, max_tokens=4 + (5 * index) % 9))
        driver.loop.step()
        driver.loop.step()
    driver.finish()
    for sink, (ids, _) in zip(sinks, references, strict=True):
        assert sink.ids == ids[: len(sink.ids)] and sink.finish == "length"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("step_tokens", [6, 9])
def test_prompt_in_chunks_gives_the_same_tokens_as_in_one_piece(tiny, drive, references, step_tokens, way):
    driver = drive(tiny.assemble(way).runner, max_rows=6, step_tokens=step_tokens)
    sinks = submit_all(driver)
    driver.finish()
    assert [sink.ids for sink in sinks] == [ids for ids, _ in references]


def test_cancelled_row_leaves_and_the_others_and_its_successor_are_not_disturbed(tiny, drive, references):
    driver = drive(tiny.assemble(max_rows=6).runner, max_rows=6)
    sinks = submit_all(driver)
    for _ in range(4):
        driver.loop.step()
    driver.loop.cancel("row-1")
    driver.loop.step()
    assert driver.loop.load().active_rows == len(PROMPTS) - 1
    successor = driver.submit(PROMPTS[4], adapter=ADAPTERS[4])
    driver.finish()
    assert len(sinks[1].ids) == 4 and sinks[1].finish is None
    assert [sink.ids for sink in sinks if sink is not sinks[1]] == [
        ids for index, (ids, _) in enumerate(references) if index != 1
    ]
    assert successor.ids == references[4][0]


def test_seeded_answer_does_not_depend_on_the_batch(tiny, drive):
    sampled = {"temperature": 1.3, "top_p": 0.9, "seed": 42, "adapter": "1", "max_tokens": 20}
    runner = tiny.assemble().runner
    alone, crowd = drive(runner), drive(runner)
    first = alone.submit(PROMPTS[1], **sampled)
    alone.finish()
    for prompt, adapter in zip(PROMPTS, ADAPTERS, strict=True):
        crowd.submit(prompt, adapter=adapter, temperature=1.0, max_tokens=7)
    crowd.loop.step()
    second = crowd.submit(PROMPTS[1], **sampled)
    other = crowd.submit(PROMPTS[1], **{**sampled, "seed": 43})
    crowd.finish()
    assert first.ids == second.ids != other.ids


@pytest.mark.parametrize("way", WAYS)
def test_slot_that_held_nan_does_not_poison_the_next_row(tiny, drive, references, way):
    runner = tiny.assemble(way, max_rows=1).runner
    driver = drive(runner, max_rows=1)
    poisoned = driver.submit(PROMPTS[4], adapter=ADAPTERS[4])
    driver.loop.step()
    with torch.inference_mode():
        for layer in runner._parts.cache.layers:
            layer.values[0].fill_(float("nan"))
    driver.finish()
    assert "not finite" in str(poisoned.error)
    sink = driver.submit(PROMPTS[0], adapter=ADAPTERS[0])
    driver.finish()
    assert sink.ids == references[0][0]


@pytest.mark.parametrize("way", WAYS)
def test_row_with_nan_fails_alone(tiny, drive, references, way):
    runner = tiny.assemble(way).runner
    driver = drive(runner)
    sinks = submit_all(driver)
    driver.loop.step()
    slot = next(row.slot for row in driver.scheduler.rows if row.request.request_id == "row-3")
    with torch.inference_mode():
        runner._parts.cache.layers[0].values[slot, :, 0] = float("nan")
    driver.finish()
    assert "not finite" in str(sinks[3].error)
    for sink, (ids, _) in zip(sinks, references, strict=True):
        assert sink is sinks[3] or sink.ids == ids


def test_nothing_of_a_failed_prompt_is_reused(tiny, drive):
    runner = tiny.assemble(max_rows=2).runner
    driver = drive(runner, max_rows=2)
    wanted = driver.submit(LONG, adapter="1")
    driver.finish()
    driver.slots.drop_adapter("1")
    poisoned = driver.submit(LONG, adapter="1")
    driver.loop.step()
    with torch.inference_mode():
        runner._parts.cache.layers[0].values.fill_(float("nan"))
    driver.finish()
    assert "not finite" in str(poisoned.error)
    runner.clear(0)
    runner.clear(1)
    again = driver.submit(LONG, adapter="1")
    driver.finish()
    assert again.usages[-1].cached_tokens == 0 and again.ids == wanted.ids


@pytest.mark.parametrize("way", WAYS)
def test_base_weights_are_never_changed(tiny, drive, references, way):
    assembly = tiny.assemble(way)
    driver = drive(assembly.runner)
    first = driver.submit(PROMPTS[2])
    driver.finish()
    submit_all(driver)
    driver.finish()
    driver = drive(assembly.runner)
    second = driver.submit(PROMPTS[2])
    driver.finish()
    assert first.ids == second.ids == references[2][0]
    assert [token.logprob for token in first.tokens] == [token.logprob for token in second.tokens]


@pytest.mark.parametrize("way", WAYS)
def test_prefix_that_is_reused_gives_the_same_tokens_as_one_that_is_computed(tiny, drive, way):
    prompts = [LONG, LONG, [*LONG[:25], 1, 2, 3], [*LONG, 4], LONG[:20], [*LONG[:16], 9]]
    runner = tiny.assemble(way).runner
    fresh, warm = [], drive(runner, num_slots=10)
    for adapter in ("1", None):
        for prompt in prompts:
            driver = drive(runner)
            fresh.append(driver.submit(prompt, adapter=adapter))
            driver.finish()
    reused = []
    for adapter in ("1", None):
        first, *others = prompts
        reused.append(warm.submit(first, adapter=adapter))
        warm.finish()
        reused += [warm.submit(prompt, adapter=adapter) for prompt in others]  # together: copies of one slot
        warm.finish()
    assert [sink.ids for sink in reused] == [sink.ids for sink in fresh]
    assert [sink.usages[-1].cached_tokens for sink in reused] == [0, 39, 25, 39, 19, 16] * 2
    assert all(sink.usages[-1].cached_tokens == 0 for sink in fresh)
    assert reused[0].ids != reused[6].ids, "the adapter must matter for this to prove anything"


def test_answer_of_an_earlier_turn_is_reused_with_its_question(tiny, drive):
    runner = tiny.assemble().runner
    driver = drive(runner, max_rows=1)
    first = driver.submit(LONG, adapter="2", max_tokens=8)
    driver.finish()
    turn = [*LONG, *first.ids, 5, 6]
    second = driver.submit(turn, adapter="2")
    driver.finish()
    alone = drive(runner)
    wanted = alone.submit(turn, adapter="2")
    alone.finish()
    assert second.usages[-1].cached_tokens == len(LONG) + 7 and second.ids == wanted.ids


def ask_ensemble(driver, prompt, adapters, **fields):
    ensemble = Ensemble("ensemble", len(adapters))
    return [driver.submit(prompt, adapter=adapter, ensemble=ensemble, **fields) for adapter in adapters]


@pytest.mark.parametrize("way", NATIVE)
@pytest.mark.parametrize("adapters", [("0", "1"), (None, "2", "1")])
def test_ensemble_takes_the_tokens_of_the_averaged_distributions(tiny, drive, models, adapters, way):
    driver = drive(tiny.assemble(way).runner)
    crowd = [driver.submit(PROMPTS[0], adapter="0"), driver.submit(PROMPTS[2])]
    sinks = ask_ensemble(driver, PROMPTS[1], adapters)
    driver.finish()
    ids, logprobs = list(PROMPTS[1]), []
    for _ in range(12):
        with torch.inference_mode():
            inputs = {"input_ids": torch.tensor([ids]), "use_cache": False}
            members = [torch.log_softmax(models[adapter](**inputs).logits[0, -1], -1) for adapter in adapters]
        mean = torch.log_softmax(torch.stack(members).mean(0), -1)
        ids.append(int(mean.argmax()))
        logprobs.append(float(mean.max()))
    for sink in sinks:
        assert sink.ids == ids[len(PROMPTS[1]) :] and sink.finish == "length"
        assert [token.logprob for token in sink.tokens] == pytest.approx(logprobs, abs=1e-4)
    assert all(sink.ids != sinks[0].ids for sink in crowd)


def test_seeded_ensemble_samples_one_answer_for_all(tiny, drive):
    runner = tiny.assemble().runner
    answers = []
    for seed in (1, 1, 2):
        driver = drive(runner)
        first, second = ask_ensemble(driver, PROMPTS[1], ("0", "1"), temperature=1.5, seed=seed)
        driver.finish()
        assert first.ids == second.ids
        answers.append(first.ids)
    assert answers[0] == answers[1] != answers[2]


REPEATED = [5, 6, 7, 8, 9, 10, 11, 12] * 3


@pytest.mark.parametrize("way", WAYS)
def test_drafts_give_the_same_answers_in_fewer_steps(tiny, drive, way):
    runner = tiny.assemble(way).runner
    steps, answers = [], []
    for draft_tokens in (0, 5):
        driver = drive(Counting(runner), draft_tokens=draft_tokens)
        # The bare model repeats itself soon; the others are there to be in the same batch.
        sinks = [driver.submit(REPEATED, adapter=adapter, max_tokens=30) for adapter in (None, "0", "1")]
        driver.finish()
        steps.append(driver.loop._runner.num_steps)
        answers.append([sink.ids for sink in sinks])
        assert all(len(sink.ids) == 30 for sink in sinks)
    assert answers[0] == answers[1]
    assert driver.loop._runner.num_drafted > 0 and steps[1] < steps[0], steps


@pytest.mark.parametrize("temperature", [0.3, 1.0])
def test_drafts_do_not_change_a_seeded_sampled_answer(tiny, drive, temperature):
    runner = tiny.assemble().runner
    sampled = {"temperature": temperature, "seed": 7, "max_tokens": 30}
    answers = []
    for draft_tokens in (0, 3):
        driver = drive(runner, draft_tokens=draft_tokens)
        sinks = [driver.submit(REPEATED, **sampled), driver.submit(REPEATED, adapter="0", top_p=0.8, **sampled)]
        driver.finish()
        answers.append([sink.ids for sink in sinks])
    assert answers[0] == answers[1]


class Counting:
    """A runner that counts."""

    def __init__(self, runner):
        self._runner = runner
        self.num_steps, self.num_drafted = 0, 0

    def run(self, plan):
        self.num_steps += 1
        self.num_drafted += sum(max(0, segment.sampled - 1) for segment in plan.segments)
        return self._runner.run(plan)


def test_guesses_that_are_right_are_all_taken_and_the_first_wrong_one_is_replaced(tiny, references):
    runner = tiny.assemble().runner
    prompt, answer = PROMPTS[1], references[1][0]
    assert [token.token_id for token in runner.run(Plan((segment(0, 0, prompt, adapter_slot=1),)))[0]] == answer[:1]
    guesses = [*answer[:3], (answer[3] + 1) % 97, answer[4]]
    (tokens,) = runner.run(Plan((segment(0, len(prompt), guesses, sampled=5, adapter_slot=1),)))
    assert [token.token_id for token in tokens] == answer[1:4]
    (tokens,) = runner.run(Plan((segment(0, len(prompt) + 3, answer[3:6], sampled=3, adapter_slot=1),)))
    assert [token.token_id for token in tokens] == answer[4:7]


def test_warm_up_leaves_no_trace_and_finds_a_model_whose_output_is_not_finite(tiny):
    assembly = tiny.assemble()
    assembly.runner.warm_up()
    layers = assembly.runner._parts.cache.layers
    assert not any(tensor.any() for layer in layers for tensor in (layer.keys, layer.values))
    assembly.runner._decoder._norm[3] = float("nan")
    with pytest.raises(EngineError, match="the base model's output is not finite"):
        assembly.runner.warm_up()
