"""Every mistake of a caller is one sentence in OpenAI's shape that names the field, and starts no generation."""

import openai
import pytest

TURN = {"role": "user", "content": "hi"}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}


@pytest.mark.parametrize(
    ("extra", "param", "code"),
    [
        ({"tools": [{"type": "function"}]}, "tools", "unsupported_parameter"),
        ({"tool_choice": "auto"}, "tool_choice", "unsupported_parameter"),
        ({"functions": [{}]}, "functions", "unsupported_parameter"),
        ({"response_format": {"type": "json_object"}}, "response_format", "unsupported_parameter"),
        ({"logit_bias": {"1": 5}}, "logit_bias", "unsupported_parameter"),
        ({"presence_penalty": 0.5}, "presence_penalty", "unsupported_parameter"),
        ({"frequency_penalty": -1}, "frequency_penalty", "unsupported_parameter"),
        ({"audio": {"voice": "x"}}, "audio", "unsupported_parameter"),
        ({"modalities": ["text", "audio"]}, "modalities", "unsupported_parameter"),
        ({"store": True}, "store", "unsupported_parameter"),
        ({"web_search_options": {}}, "web_search_options", "unsupported_parameter"),
        ({"best_of": 2}, "best_of", "unknown_parameter"),
        ({"temprature": 1}, "temprature", "unknown_parameter"),
        ({"temperature": "hot"}, "temperature", "invalid_type"),
        ({"temperature": True}, "temperature", "invalid_type"),
        ({"temperature": 2.1}, "temperature", "invalid_value"),
        ({"top_p": 0}, "top_p", "invalid_value"),
        ({"max_tokens": 0}, "max_tokens", "invalid_value"),
        ({"max_tokens": 2**31}, "max_tokens", "invalid_value"),
        ({"max_tokens": "5"}, "max_tokens", "invalid_type"),
        ({"max_tokens": 1.5}, "max_tokens", "invalid_type"),
        ({"max_tokens": 3, "max_completion_tokens": 4}, "max_tokens", "invalid_value"),
        ({"seed": 2**63}, "seed", "invalid_value"),
        ({"n": 0}, "n", "invalid_value"),
        ({"n": 9}, "n", "invalid_value"),
        ({"stream": "yes"}, "stream", "invalid_type"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "invalid_value"),
        ({"stop": ""}, "stop.0", "invalid_value"),
        ({"stop": [1]}, "stop.0", "invalid_type"),
        ({"stop": ["x"] * 17}, "stop", "invalid_value"),
        ({"top_logprobs": 3}, "top_logprobs", "invalid_value"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "invalid_value"),
        ({"model": None}, "model", "invalid_type"),
        ({"model": 5}, "model", "invalid_type"),
        ({"messages": None}, "messages", "invalid_type"),
        ({"messages": []}, "messages", "invalid_value"),
        ({"messages": "hi"}, "messages", "invalid_type"),
        ({"messages": [TURN] * 2049}, "messages", "invalid_value"),
        ({"messages": ["hi"]}, "messages.0", "invalid_type"),
        ({"messages": [{"content": "hi"}]}, "messages.0.role", "missing_required_parameter"),
        ({"messages": [{"role": "user"}]}, "messages.0.content", "missing_required_parameter"),
        ({"messages": [TURN, {"role": "robot", "content": "hi"}]}, "messages.1.role", "invalid_value"),
        ({"messages": [{"role": "tool", "content": "hi"}]}, "messages.0.role", "invalid_value"),
        ({"messages": [{"role": "function", "content": "hi"}]}, "messages.0.role", "invalid_value"),
        ({"messages": [{"role": "user", "content": None}]}, "messages.0.content", "invalid_type"),
        ({"messages": [{"role": "user", "content": [IMAGE]}]}, "messages.0.content", "invalid_value"),
        ({"messages": [{"role": "user", "content": [IMAGE] * 2049}]}, "messages.0.content", "invalid_value"),
        ({"messages": [{"role": "user", "content": ["hi"]}]}, "messages.0.content", "invalid_value"),
        ({"messages": [{**TURN, "name": "bob"}]}, "messages.0.name", "unsupported_parameter"),
        ({"messages": [{**TURN, "tool_calls": [{}]}]}, "messages.0.tool_calls", "unsupported_parameter"),
        ({"messages": [{**TURN, "mood": "good"}]}, "messages.0.mood", "unknown_parameter"),
    ],
)
async def test_a_bad_field_is_named(world, extra, param, code):
    response = await world.chat(**extra)
    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["param"], error["code"], error["type"]) == (param, code, "invalid_request_error")
    assert param.split(".")[-1] in error["message"]
    assert response.headers["x-headrace-query-id"].startswith("q")
    assert not world.small.calls
    assert not await world.accounts()


async def test_an_image_part_is_refused_by_its_kind(world):
    response = await world.chat(messages=[{"role": "user", "content": [{"type": "text", "text": "see"}, IMAGE]}])
    assert "part 1 is of type 'image_url'" in response.json()["error"]["message"]


@pytest.mark.parametrize("missing", ["model", "messages"])
async def test_a_missing_field_is_named(world, missing):
    body = {"model": "auto", "messages": [TURN]}
    del body[missing]
    error = (await world.http.post("/v1/chat/completions", json=body)).json()["error"]
    assert (error["param"], error["code"]) == (missing, "missing_required_parameter")


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[1]", b"null", b"\xff\xfe", b'{"a": NaN}', b"[" * 100_000, b'{"a": "\\ud800"}', b"9" * 5000],
)
async def test_what_is_no_json_object_is_refused(world, body):
    response = await world.http.post("/v1/chat/completions", content=body)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "invalid_json"


async def test_an_infinite_number_is_refused(world):
    body = b'{"model": "auto", "messages": [{"role": "user", "content": "hi"}], "temperature": 1e999}'
    assert (await world.http.post("/v1/chat/completions", content=body)).json()["error"]["param"] == "temperature"


@pytest.mark.parametrize("stream", [False, True])
async def test_an_unknown_model_is_not_found(world, stream):
    with pytest.raises(openai.NotFoundError) as caught:
        await world.openai().chat.completions.create(model="gpt-9", messages=[TURN], stream=stream)
    assert caught.value.code == "model_not_found"
    assert caught.value.param == "model"
    assert "legal" in str(caught.value)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_prompt_of_one_megabyte_is_too_long_for_the_context(world, stream):
    with pytest.raises(openai.BadRequestError) as caught:
        await world.openai().chat.completions.create(
            model="auto", messages=[{"role": "user", "content": "word " * 200_000}], stream=stream
        )
    assert caught.value.code == "context_length_exceeded"
    assert "200000" in str(caught.value)
    assert "2048" in str(caught.value)


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_over_the_bound_is_refused_while_it_is_read(make_world, declared):
    world = make_world(overrides={"gateway": {"max_body_bytes": 2048}})
    read = []

    async def body():
        for _ in range(100):
            read.append(1)
            yield b"x" * 1024

    response = await world.http.post("/v1/chat/completions", content=b"x" * 4096 if declared else body())
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "body_too_large"
    assert len(read) < 10 or declared


async def test_unknown_pages_and_wrong_methods_have_openai_errors(world):
    for path in ("/nope", "/v1/models/", "/docs"):
        assert (await world.http.get(path)).status_code == 404
    response = await world.http.get("/v1/chat/completions")
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"
    assert response.json()["error"]["type"] == "invalid_request_error"


async def test_error_does_not_repeat_the_value(world):
    secret = "my private text"
    assert secret not in (await world.chat(temperature=secret)).text
