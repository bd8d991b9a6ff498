"""The engine against the model itself: PEFT and a plain forward pass without any cache are the reference."""

import pytest
import torch

PROMPTS = [[5, 9, 2], [11, 4, 60, 33, 8, 1, 90], [77], [3, 3, 3, 3, 3], [50, 40, 30, 20, 10, 6, 7, 8, 9], [1, 2, 3, 4]]
ADAPTERS = [0, 1, None, 2, 1, 0]


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
def references(tiny):
    models = {adapter: tiny.reference(adapter) for adapter in set(ADAPTERS)}
    return [plain_greedy(models[adapter], prompt, 12) for prompt, adapter in zip(PROMPTS, ADAPTERS, strict=True)]


def test_mixed_batch_gives_each_row_the_tokens_and_logprobs_of_peft(tiny, drive, references):
    driver = drive(tiny.runner())
    sinks = [driver.submit(prompt, adapter=adapter) for prompt, adapter in zip(PROMPTS, ADAPTERS, strict=True)]
    driver.finish()
    for sink, (ids, logprobs) in zip(sinks, references, strict=True):
        assert sink.ids == ids
        assert [token.logprob for token in sink.tokens] == pytest.approx(logprobs, abs=1e-4)
    assert len({tuple(sink.ids) for sink in sinks}) == len(sinks), "the adapters must differ for this to prove anything"


def test_row_alone_gives_the_same_tokens_as_in_the_mixed_batch(tiny, drive, references):
    runner = tiny.runner()
    for prompt, adapter, (ids, _) in zip(PROMPTS, ADAPTERS, references, strict=True):
        driver = drive(runner)
        sink = driver.submit(prompt, adapter=adapter)
        driver.finish()
        assert sink.ids == ids


def test_rows_admitted_and_leaving_while_others_decode_change_nothing(tiny, drive, references):
    driver = drive(tiny.runner(max_rows=3), max_rows=3)
    sinks = []
    for index, (prompt, adapter) in enumerate(zip(PROMPTS, ADAPTERS, strict=True)):
        sinks.append(driver.submit(prompt, adapter=adapter, max_tokens=4 + (5 * index) % 9))
        driver.loop.step()
        driver.loop.step()
    driver.finish()
    for sink, (ids, _) in zip(sinks, references, strict=True):
        assert sink.ids == ids[: len(sink.ids)] and sink.finish == "length"


def test_prompt_in_chunks_gives_the_same_tokens_as_in_one_piece(tiny, drive, references):
    driver = drive(tiny.runner(), prefill_tokens=4)
    sinks = [driver.submit(prompt, adapter=adapter) for prompt, adapter in zip(PROMPTS, ADAPTERS, strict=True)]
    driver.finish()
    assert [sink.ids for sink in sinks] == [ids for ids, _ in references]


def test_cancelled_row_leaves_and_the_last_row_takes_its_slot(tiny, drive, references):
    driver = drive(tiny.runner())
    sinks = [
        driver.submit(prompt, f"row-{index}", adapter=adapter)
        for index, (prompt, adapter) in enumerate(zip(PROMPTS, ADAPTERS, strict=True))
    ]
    for _ in range(4):
        driver.loop.step()
    driver.loop.cancel("row-1")
    driver.loop.step()
    assert driver.loop.load().active_rows == len(PROMPTS) - 1
    driver.finish()
    assert len(sinks[1].ids) == 4 and sinks[1].finish is None
    assert [sink.ids for sink in sinks if sink is not sinks[1]] == [
        ids for index, (ids, _) in enumerate(references) if index != 1
    ]


def test_seeded_answer_does_not_depend_on_the_batch(tiny, drive):
    sampled = {"temperature": 1.3, "top_p": 0.9, "seed": 42, "adapter": 1, "max_tokens": 20}
    runner = tiny.runner()
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


def test_slot_that_held_nan_does_not_poison_the_next_row(tiny, drive, references):
    runner = tiny.runner(max_rows=1)
    driver = drive(runner, max_rows=1)
    poisoned = driver.submit(PROMPTS[4], adapter=ADAPTERS[4])
    driver.loop.step()
    with torch.inference_mode():
        for layer in runner._cache.slots:
            layer.values[0].fill_(float("nan"))
    driver.finish()
    assert "not finite" in str(poisoned.error)
    sink = driver.submit(PROMPTS[0], adapter=ADAPTERS[0])
    driver.finish()
    assert sink.ids == references[0][0]


def test_base_weights_are_never_changed(tiny, drive):
    model = tiny.model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    driver = drive(tiny.runner())
    driver.submit(PROMPTS[0], adapter=2)
    driver.finish()
    runner_state = {
        name.replace(".base.", "."): value for name, value in driver.loop._runner._model.state_dict().items()
    }
    assert all(torch.equal(value, runner_state[name]) for name, value in before.items())


def test_nan_is_not_left_behind_when_a_row_that_ends_makes_the_failed_row_move(tiny, drive, references):
    driver = drive(tiny.runner(max_rows=2), max_rows=2)
    ended = driver.submit(PROMPTS[0], adapter=ADAPTERS[0], max_tokens=2)
    poisoned = driver.submit(PROMPTS[4], adapter=ADAPTERS[4])
    driver.loop.step()
    with torch.inference_mode():
        driver.loop._runner._cache.slots[0].values[1, :, :9].fill_(float("nan"))
    driver.loop.step()
    assert ended.finish == "length" and "not finite" in str(poisoned.error)
    sinks = [driver.submit(PROMPTS[index], adapter=ADAPTERS[index]) for index in (3, 0)]
    driver.finish()
    assert [sink.ids for sink in sinks] == [references[3][0], references[0][0]]
