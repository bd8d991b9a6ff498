"""Bounds of one request: headers and bodies."""

import json

import pytest

LIMITS = {"gateway": {"max_header_bytes": 1024, "max_body_bytes": 1024}}


@pytest.fixture
def narrow(make_world):
    return make_world(overrides=LIMITS)


@pytest.mark.parametrize("path", ["/v1/models", "/healthz", "/nowhere"])
async def test_larger_headers_are_refused_in_openai_shape_on_every_path(narrow, path):
    response = await narrow.http.get(path, headers={"x-large": "x" * 1024})
    assert response.status_code == 431
    error = response.json()["error"]
    assert (error["code"], error["type"]) == ("headers_too_large", "invalid_request_error")
    assert "1024 bytes" in error["message"]
    assert response.headers["connection"] == "close"


async def test_many_small_headers_count_together(narrow):
    headers = {f"x-small-{index}": "x" * 40 for index in range(30)}
    assert (await narrow.http.get("/healthz", headers=headers)).status_code == 431
    assert (await narrow.http.get("/healthz", headers=dict(list(headers.items())[:5]))).status_code == 200


async def test_nothing_is_asked_or_recorded_for_refused_headers(narrow):
    assert (await narrow.chat("easy", headers={"x-large": "x" * 1024})).status_code == 431
    assert not narrow.small.calls
    assert await narrow.accounts() == []


async def test_a_declared_length_is_refused_before_the_body_is_read(narrow):
    async def body():
        raise AssertionError("the body was read")
        yield b""

    response = await narrow.http.post(
        "/v1/chat/completions", content=body(), headers={"content-length": "1025", "transfer-encoding": ""}
    )
    assert (response.status_code, response.json()["error"]["code"]) == (413, "body_too_large")


async def test_a_body_of_no_declared_length_is_refused_as_soon_as_it_is_larger(narrow):
    read = []

    async def body():
        for _ in range(10):
            read.append(512)
            yield b" " * 512

    response = await narrow.http.post("/v1/chat/completions", content=body())
    assert response.status_code == 413
    assert len(read) <= 4


async def test_a_body_of_the_bound_is_taken(narrow):
    body = {"model": "auto", "messages": [{"role": "user", "content": "easy"}]}
    content = json.dumps(body).encode().ljust(1024)
    assert (await narrow.http.post("/v1/chat/completions", content=content)).status_code == 200


async def test_a_declared_length_that_no_number_holds_is_too_large(narrow):
    response = await narrow.http.post("/v1/completions", content=b"{}", headers={"content-length": "9" * 500})
    assert (response.status_code, response.json()["error"]["code"]) == (413, "body_too_large")


async def test_a_declared_length_beyond_python_s_digits_is_too_large(make_world):
    response = await make_world().http.post("/v1/completions", content=b"{}", headers={"content-length": "9" * 5000})
    assert (response.status_code, response.json()["error"]["code"]) == (413, "body_too_large")


async def test_refused_headers_are_counted_like_other_error_answers(narrow):
    await narrow.http.get("/healthz", headers={"x-large": "x" * 1024})
    assert 'headrace_error_answers_total{status="431"} 1.0' in (await narrow.http.get("/metrics")).text
