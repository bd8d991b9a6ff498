"""Answers of /v1/chat/completions through the official client."""

import json

import pytest

from serve_app.engines.fake import FakeAnswer, FakeEngine

MESSAGES = [{"role": "user", "content": "easy"}]


async def test_whole_answer_has_openai_shape_usage_and_account(world):
    answer = await world.openai().chat.completions.create(model="auto", messages=MESSAGES)
    assert answer.object == "chat.completion"
    assert answer.id.startswith("chatcmpl-q")
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content == "four words of answer"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].logprobs is None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (1, 4, 5)
    account = answer.headrace
    assert (account["route"], account["adapter"], account["escalated"]) == ("general", None, False)
    assert account["cost_usd"] == pytest.approx(9e-6)
    assert account["saved_usd"] == pytest.approx(81e-6)


@pytest.mark.parametrize("question", ["easy", "hard", "a contract", "something else"])
@pytest.mark.parametrize("model", ["auto", "router", "cascade", "base", "large", "legal"])
async def test_streamed_and_whole_answers_are_the_same_text_at_the_same_cost(world, question, model):
    client, messages = world.openai(), [{"role": "user", "content": question}]
    whole = await client.chat.completions.create(model=model, messages=messages)
    chunks = [c async for c in await client.chat.completions.create(model=model, messages=messages, stream=True)]
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == whole.choices[0].message.content
    streamed = chunks[-1].headrace
    for key in ("cost_usd", "always_large_usd", "route", "adapter", "model", "escalated", "confidence", "reason"):
        assert streamed[key] == whole.headrace[key], key
    assert chunks[-1].choices[0].finish_reason == whole.choices[0].finish_reason


async def test_first_chunk_names_the_role_and_every_chunk_has_a_choice(world, events):
    data = events(await world.chat(stream=True))
    assert data[-1] == "[DONE]"
    chunks = data[:-1]
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": "four"}
    assert all(len(chunk["choices"]) == 1 and "usage" not in chunk for chunk in chunks)
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert ["headrace" in chunk for chunk in chunks] == [False] * (len(chunks) - 1) + [True]


async def test_include_usage_adds_a_last_chunk_without_choices(world, events):
    *chunks, done = events(await world.chat(stream=True, stream_options={"include_usage": True}))
    assert done == "[DONE]"
    assert all(chunk["usage"] is None and chunk["choices"] for chunk in chunks[:-1])
    last = chunks[-1]
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] == 5
    assert last["headrace"]["cost_usd"] == pytest.approx(9e-6)
    assert "headrace" not in chunks[-2]


@pytest.mark.parametrize("stream", [False, True])
async def test_three_choices_run_at_once_and_are_billed_together(world, stream, events):
    world.small.token_s = 0.001
    response = await world.chat(n=3, stream=stream, seed=7)
    texts = dict.fromkeys(range(3), "")
    if stream:
        chunks = events(response)[:-1]
        for chunk in chunks:
            for choice in chunk["choices"]:
                texts[choice["index"]] += choice["delta"].get("content", "")
        indices = [chunk["choices"][0]["index"] for chunk in chunks]
        assert indices != sorted(indices), "the choices are interleaved"
        assert sum(chunk["choices"][0]["finish_reason"] == "stop" for chunk in chunks) == 3
        account = chunks[-1]["headrace"]
    else:
        body = response.json()
        texts |= {choice["index"]: choice["message"]["content"] for choice in body["choices"]}
        assert body["usage"]["prompt_tokens"] == 1
        assert body["usage"]["completion_tokens"] == 12
        account = body["headrace"]
    assert set(texts.values()) == {"four words of answer"}
    assert sorted(one["choice_index"] for one in account["attempts"] if one["role"] == "answer") == [0, 1, 2]
    assert account["cost_usd"] == pytest.approx(27e-6)
    assert sorted(call.sampling.seed for call in world.small.calls) == [7, 8, 9]


async def test_logprobs_come_in_openai_shape_and_agree_between_modes(world):
    client = world.openai()
    ask = {"model": "base", "messages": MESSAGES, "logprobs": True, "top_logprobs": 2}
    whole = (await client.chat.completions.create(**ask)).choices[0].logprobs.content
    streamed = []
    async for chunk in await client.chat.completions.create(**ask, stream=True):
        if chunk.choices[0].logprobs:
            streamed += chunk.choices[0].logprobs.content
    assert whole == streamed
    assert [token.token for token in whole] == ["four", " words", " of", " answer"]
    assert whole[0].logprob == pytest.approx(-0.05)
    assert bytes(whole[1].bytes) == b" words"
    assert [top.token for top in whole[0].top_logprobs] == ["four", "four~0"]


async def test_logprobs_without_top_logprobs_list_no_alternatives(world):
    body = (await world.chat(logprobs=True)).json()
    assert [token["top_logprobs"] for token in body["choices"][0]["logprobs"]["content"]] == [[]] * 4


@pytest.mark.parametrize("logprob", [float("-inf"), float("nan")])
async def test_a_logprob_that_is_no_number_is_sent_as_one_that_json_can_hold(make_world, logprob):
    world = make_world(small=FakeEngine(default=FakeAnswer("never", logprob=logprob)))
    body = (await world.chat(model="base", logprobs=True)).json()
    assert body["choices"][0]["logprobs"]["content"][0]["logprob"] == -9999.0


@pytest.mark.parametrize("stop", ["of", ["nothing", "of"]])
async def test_stop_ends_the_answer_before_the_string(world, stop):
    body = (await world.chat(stop=stop)).json()
    assert body["choices"][0]["message"]["content"].rstrip() == "four words"
    assert body["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_both_names_of_the_length_bound_are_honoured(world, name):
    body = (await world.chat(**{name: 2})).json()
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["usage"]["completion_tokens"] == 2


async def test_developer_counts_as_system_and_text_parts_are_joined_by_lines(world):
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    messages = [{"role": "developer", "content": "be brief"}, {"role": "user", "content": parts}]
    assert (await world.chat(messages=messages)).status_code == 200
    turns = [(message.role, message.content) for message in world.small.calls[0].messages]
    assert turns == [("system", "be brief"), ("user", "one\ntwo")]


async def test_answered_turns_can_be_sent_back_as_they_came(world):
    first = (await world.chat()).json()["choices"][0]["message"]
    messages = [{"role": "user", "content": "easy"}, first, {"role": "user", "content": "and then?"}]
    assert (await world.chat(messages=messages)).status_code == 200


async def test_parameters_that_ask_for_nothing_are_accepted(world):
    neutral = {
        "user": "u1",
        "metadata": {"a": "b"},
        "store": False,
        "tools": [],
        "tool_choice": "none",
        "response_format": {"type": "text"},
        "presence_penalty": 0,
        "frequency_penalty": 0.0,
        "logit_bias": {},
        "modalities": ["text"],
        "parallel_tool_calls": True,
        "temperature": None,
        "n": None,
        "stop": None,
        "stream": None,
        "service_tier": "auto",
        "audio": None,
    }
    assert (await world.chat(**neutral)).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
async def test_characters_split_over_tokens_arrive_whole(make_world, split_characters, stream, events):
    text = "naïve 日本語 👩‍🚀!"
    world = make_world(small=split_characters(text))
    response = await world.chat(model="base", stream=stream, logprobs=True)
    if not stream:
        body = response.json()
        assert body["choices"][0]["message"]["content"] == text
        assert body["choices"][0]["logprobs"]["content"][2]["bytes"] is None
        return
    chunks = events(response)[:-1]
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == text
    tokens = [t for chunk in chunks for t in (chunk["choices"][0]["logprobs"] or {"content": []})["content"]]
    assert len(tokens) == len(text.encode())


async def test_an_empty_answer_is_an_answer(make_world, events):
    world = make_world(small=FakeEngine(default=""))
    assert (await world.chat(model="base")).json()["choices"][0]["message"]["content"] == ""
    chunk, done = events(await world.chat(model="base", stream=True))
    assert done == "[DONE]"
    assert chunk["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert chunk["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_model_that_computes_no_numbers_is_escalated(make_world, stream, events):
    world = make_world(small=FakeEngine(default=FakeAnswer("one two three four", logprob=float("nan"))))
    response = await world.chat(stream=stream)
    account = events(response)[-2]["headrace"] if stream else response.json()["headrace"]
    assert (account["escalated"], account["confidence"]) == (True, 0.0)


async def test_an_end_token_is_billed_and_not_among_the_logprobs(world_with_end_token, events):
    body = (await world_with_end_token.chat(model="base", logprobs=True)).json()
    assert [token["token"] for token in body["choices"][0]["logprobs"]["content"]] == ["yes"]
    assert body["usage"]["completion_tokens"] == 2
    chunks = events(await world_with_end_token.chat(model="base", logprobs=True, stream=True))[:-1]
    listed = [chunk["choices"][0]["logprobs"] for chunk in chunks]
    assert [len(logprobs["content"]) for logprobs in listed if logprobs] == [1]


async def test_every_event_is_one_line_however_a_client_splits_lines(make_world):
    text = "one\u2028two\u2029three\x85four\x0bfive"
    response = await make_world(small=FakeEngine(default=text)).chat(model="base", stream=True)
    lines = [line.removeprefix("data: ") async for line in response.aiter_lines() if line]
    chunks = [json.loads(line) for line in lines[:-1]]
    assert lines[-1] == "[DONE]"
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == text
