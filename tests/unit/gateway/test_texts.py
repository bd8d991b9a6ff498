"""Answers of /v1/completions through the official client."""

import pytest

from serve_app.core import Delta, TokenStat, Usage


@pytest.mark.parametrize("prompt", ["easy", ["easy"]])
async def test_whole_completion_has_openai_shape(world, prompt):
    answer = await world.openai().completions.create(model="base", prompt=prompt)
    assert answer.object == "text_completion"
    assert answer.id.startswith("cmpl-q")
    assert answer.choices[0].text == "four words of answer"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == 5
    assert world.small.calls[0].prompt == "easy"


@pytest.mark.parametrize("prompt", ["easy", "hard"])
async def test_streamed_completion_is_the_same_text_at_the_same_cost(world, prompt):
    client = world.openai()
    whole = await client.completions.create(model="auto", prompt=prompt)
    chunks = [chunk async for chunk in await client.completions.create(model="auto", prompt=prompt, stream=True)]
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert chunks[-1].headrace["cost_usd"] == whole.headrace["cost_usd"]


async def test_logprobs_are_parallel_lists_with_running_offsets_in_both_modes(world):
    client = world.openai()
    whole = (await client.completions.create(model="base", prompt="easy", logprobs=2)).choices[0].logprobs
    assert whole.tokens == ["four", " words", " of", " answer"]
    assert whole.text_offset == [0, 4, 10, 13]
    assert whole.token_logprobs == pytest.approx([-0.05] * 4)
    assert list(whole.top_logprobs[0]) == ["four", "four~0"]
    offsets = []
    async for chunk in await client.completions.create(model="base", prompt="easy", logprobs=2, stream=True):
        if chunk.choices[0].logprobs:
            offsets += chunk.choices[0].logprobs.text_offset
    assert offsets == whole.text_offset


async def test_zero_logprobs_report_the_chosen_tokens_only(world):
    logprobs = (await world.openai().completions.create(model="base", prompt="easy", logprobs=0)).choices[0].logprobs
    assert len(logprobs.tokens) == 4
    assert logprobs.top_logprobs is None


async def test_usage_chunk_of_a_stream(world):
    stream = await world.openai().completions.create(
        model="base", prompt="easy", stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == 4
    assert all(chunk.usage is None for chunk in chunks[:-1])


@pytest.mark.parametrize(
    ("extra", "param"),
    [
        ({"best_of": 2}, "best_of"),
        ({"echo": True}, "echo"),
        ({"suffix": "end"}, "suffix"),
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": [1, 2]}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"logprobs": 21}, "logprobs"),
        ({"logprobs": True}, "logprobs"),
        ({"messages": []}, "messages"),
    ],
)
async def test_what_is_not_supported_is_refused_by_name(world, extra, param):
    response = await world.http.post("/v1/completions", json={"model": "base", "prompt": "easy", **extra})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param
    assert not world.small.calls


async def test_alternatives_hold_the_chosen_token_and_the_likeliest_of_those_with_one_text(make_world, playback):
    top = (("\ufffd", -0.5), ("\ufffd", -2.0))
    world = make_world(small=playback([Delta("b", (TokenStat(1, "b", -3.0, 1.0, 1.0, top),), "stop", Usage(1, 0, 1))]))
    answer = await world.openai().completions.create(model="base", prompt="easy", logprobs=2)
    assert answer.choices[0].logprobs.top_logprobs == [{"\ufffd": -0.5, "b": -3.0}]


async def test_an_end_token_is_billed_and_not_among_the_logprobs(world_with_end_token):
    client, ask = world_with_end_token.openai(), {"model": "base", "prompt": "easy", "logprobs": 1}
    whole = await client.completions.create(**ask)
    assert (whole.choices[0].logprobs.tokens, whole.usage.completion_tokens) == (["yes"], 2)
    chunks = [chunk async for chunk in await client.completions.create(**ask, stream=True)]
    assert [chunk.choices[0].logprobs.tokens for chunk in chunks if chunk.choices[0].logprobs] == [["yes"]]
