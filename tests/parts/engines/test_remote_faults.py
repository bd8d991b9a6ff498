"""Servers that fail: what a caller sees, how often they are asked again, and who answers instead."""

import asyncio
import logging
import time
from dataclasses import replace

import pytest

from serve_app.core import DeadlineExceeded, EngineError, Overloaded
from serve_app.engines.fake import FakeEngine
from tests.parts.engines.openai_server import OpenAIServer, event, raw, refusal, words

DEAD = "http://127.0.0.1:9"
"""Nobody listens on the port `discard`."""


class Waits(list):
    """Instead of sleeping."""

    async def sleep(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
def waits():
    return Waits()


@pytest.fixture
def said(elsewhere, reading, asking, waits):
    """The text of one answer from an engine over these servers; the engine stays for more."""

    async def say(*servers, timeout_s=None, **options):
        engine = await elsewhere(*(one if isinstance(one, str) else one.app() for one in servers),
                                 sleep=waits.sleep, **options)  # fmt: skip
        deltas = await reading(engine, replace(asking(), timeout_s=timeout_s))
        return "".join(one.text for one in deltas)

    return say


async def test_a_server_that_fails_is_asked_again_after_waits_by_chance_that_may_double(said, waits):
    server = OpenAIServer(acts=[refusal(500), refusal(503), refusal(502)])
    assert await said(server, remote={"max_retries": 3, "backoff_s": 1}) == "one two three"
    assert len(waits) == 3 and all(0 <= wait <= 2**index for index, wait in enumerate(waits))


async def test_the_last_failure_is_told_and_there_is_an_end(said, waits):
    server = OpenAIServer(always=refusal(500, "out of memory"))
    with pytest.raises(EngineError, match=r"No server answers: served at .* status 500 \(out of memory\)"):
        await said(server, remote={"max_retries": 2})
    assert len(server.requests) == 3 and len(waits) == 2


@pytest.mark.parametrize(
    "act",
    [
        raw(b"data: <html>\n\n"),
        raw(b'data: {"choices": "none"}\n\n'),
        raw(b"data: [DONE]\n\n"),
        raw(b""),
        raw(b'{"choices": []}', media_type="application/json"),
        raw(b"\x00\xff" * 100, b"\n\n"),
        raw(ConnectionError("gone")),
        raw(event({"error": {"message": "engine died"}})),
        raw(event({"choices": [{"delta": {"role": "assistant", "content": ""}}]}), ConnectionError("gone")),
    ],
)
async def test_garbage_or_a_drop_before_the_first_token_is_asked_again(said, act):
    server = OpenAIServer(acts=[act])
    assert await said(server) == "one two three"
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("end", "why"),
    [
        (ConnectionError("gone"), "broke the connection off"),
        (b"data: {\n\n", "sent something that is no chunk"),
        (event({"error": {"message": "out of memory"}}), r"failed while answering \(out of memory\)"),
        (b"data: [DONE]\n\n", "ended its answer without saying why"),
        (b"", "ended its answer without saying why"),
        (5.0, "was silent for too long"),
    ],
)
async def test_what_was_sent_is_never_retracted_so_a_drop_in_the_middle_is_an_error(elsewhere, asking, end, why):
    server = OpenAIServer(acts=[raw(*words("a", end=False), end)])
    engine = await elsewhere(server.app(), remote={"silence_timeout_s": 0.1})
    texts = []
    with pytest.raises(EngineError, match=f"{why}.*in the middle of its answer") as error:
        async for delta in engine.generate(asking()):
            texts.append(delta.text)
            assert delta.usage.completion_tokens == 1 and delta.usage.prompt_tokens > 0  # it can be billed
    assert texts == ["a"] and len(server.requests) == 1 and not isinstance(error.value, DeadlineExceeded)


async def test_a_dead_server_means_the_next_in_the_list_without_a_wait(said, waits):
    second = OpenAIServer()
    assert await said(DEAD, second) == "one two three"
    assert len(second.requests) == 1 and not waits


async def test_a_server_that_hangs_means_the_next_in_the_list(elsewhere, asking, reading):
    slow, second = OpenAIServer(FakeEngine(first_token_s=2)), OpenAIServer()
    engine = await elsewhere(slow.app(), second.app(), remote={"first_token_timeout_s": 0.1})
    assert await reading(engine, asking())
    assert (len(slow.requests), len(second.requests)) == (1, 1)
    assert engine._servers[0].client._transport._pool.connections == []


async def test_all_dead_is_one_sentence_that_names_each(said):
    with pytest.raises(EngineError, match=r"No server answers: served at 127.0.0.1:9 cannot be reached; served at .*"):
        await said(DEAD, DEAD)


async def test_a_server_that_keeps_failing_is_left_alone_and_tried_again_later(
    elsewhere, asking, reading, waits, caplog
):
    caplog.set_level(logging.WARNING)
    first, second = OpenAIServer(acts=[refusal(500)] * 2), OpenAIServer()
    breaker = {"failures": 2, "open_s": 30, "max_open_s": 60}
    engine = await elsewhere(first.app(), second.app(), remote={"breaker": breaker}, sleep=waits.sleep)
    for _ in range(5):
        await reading(engine, asking())
    assert (len(first.requests), len(second.requests)) == (2, 5)
    assert "status 500 (no); it is left alone for 30 s" in caplog.text
    engine._servers[0].breaker._clock = lambda: time.monotonic() + 31
    for _ in range(2):
        await reading(engine, asking())
    assert (len(first.requests), len(second.requests)) == (4, 5)


async def test_one_alone_that_is_left_alone_fails_at_once_and_says_why(elsewhere, asking, reading, waits):
    server = OpenAIServer(always=refusal(500, "out of memory"))
    engine = await elsewhere(server.app(), remote={"breaker": {"failures": 1}}, sleep=waits.sleep)
    for match in (
        r"answered with status 500 \(out of memory\)",
        "is left alone for 5 s, since it answered with status",
    ):
        with pytest.raises(EngineError, match=match):
            await reading(engine, asking())
    assert len(server.requests) == 1 and not waits


async def test_retry_after_is_heeded(said, waits):
    server = OpenAIServer(acts=[refusal(429, headers={"retry-after-ms": "400"})])

    async def sleep(seconds):
        waits.append(seconds)
        await asyncio.sleep(seconds)

    waits.sleep = sleep
    assert await said(server) == "one two three"
    assert 0.2 <= waits[0] <= 0.41


async def test_a_server_at_its_limit_means_the_next_and_is_not_asked_meanwhile(elsewhere, asking, reading):
    first, second = OpenAIServer(acts=[refusal(429, headers={"retry-after": "60"})]), OpenAIServer()
    engine = await elsewhere(first.app(), second.app())
    for _ in range(3):
        await reading(engine, asking())
    assert (len(first.requests), len(second.requests)) == (1, 3)
    assert engine._servers[0].breaker.state == "closed"


async def test_when_all_are_at_their_limit_the_caller_hears_when_to_come_back(said, waits):
    servers = [OpenAIServer(always=refusal(429, headers={"retry-after": after})) for after in ("90", "30")]
    with pytest.raises(
        Overloaded, match=r"No server may be asked for 30 s: .*rate limit for 90 s; .*for 30 s"
    ) as error:
        await said(*servers)
    assert error.value.retry_after_s == 30 and not waits


async def test_a_limit_without_a_time_is_overload_as_well(said):
    with pytest.raises(Overloaded) as error:
        await said(OpenAIServer(always=refusal(429)), remote={"max_retries": 0})
    assert error.value.retry_after_s == 1


async def test_a_limit_that_is_used_up_is_not_run_into(elsewhere, asking, reading):
    used_up = {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1m30s"}

    def last_one(body):
        response = raw(*words("last"))(body)
        response.headers.update(used_up)
        return response

    server = OpenAIServer(acts=[last_one])
    engine = await elsewhere(server.app())
    await reading(engine, asking())
    with pytest.raises(Overloaded) as error:
        await reading(engine, asking())
    assert 89 <= error.value.retry_after_s <= 90 and len(server.requests) == 1


async def test_a_refused_key_names_its_variable_and_is_not_asked_again(said, monkeypatch, waits):
    monkeypatch.setenv("FAR_KEY", "sk-very-secret")
    server = OpenAIServer(always=refusal(401, "Incorrect API key provided: sk-very-secret"))
    with pytest.raises(
        EngineError, match=r"refuses the key in the environment variable FAR_KEY \(status 401\)"
    ) as error:
        await said(server, server={"api_key_env": "FAR_KEY"})
    assert "sk-very" not in str(error.value) + repr(error.value.__cause__)
    assert len(server.requests) == 1 and not waits


@pytest.mark.parametrize(
    ("act", "why"),
    [
        (refusal(404, "The model `served` does not exist"), "does not exist.: check its address, model and account"),
        (refusal(403), "wants a key"),
        (refusal(429, "You exceeded your quota", code="insufficient_quota"), "exceeded your quota"),
    ],
)
async def test_what_only_the_operator_can_mend_is_not_asked_again_and_the_next_answers(said, waits, caplog, act, why):
    broken, second = OpenAIServer(always=act), OpenAIServer()
    assert await said(broken, second) == "one two three"
    assert len(broken.requests) == 1 and not waits
    with pytest.raises(EngineError, match=why):
        await said(OpenAIServer(always=act))


async def test_time_that_runs_out_is_said_as_such_wherever_it_does(said, elsewhere, asking):
    slow = OpenAIServer(FakeEngine(default="word " * 50, token_s=0.03))
    engine = await elsewhere(slow.app())
    texts = []
    with pytest.raises(DeadlineExceeded, match=r"elsewhere did not answer within 0.2 s"):
        async for delta in engine.generate(replace(asking(), timeout_s=0.2)):
            texts.append(delta.text)
    assert 1 <= len(texts) < 10 and (await engine.info()).active_rows == 0
    with pytest.raises(DeadlineExceeded, match=r"within 0.15 s"):
        await said(OpenAIServer(FakeEngine(first_token_s=2)), remote={"timeout_s": 0.15, "first_token_timeout_s": 0.1,
                                                                     "max_retries": 9})  # fmt: skip


async def test_no_wait_goes_beyond_the_time_a_call_has(said, waits):
    server = OpenAIServer(always=refusal(429, headers={"retry-after": "5"}))
    with pytest.raises(Overloaded):
        await said(server, timeout_s=1.0)
    assert not waits
