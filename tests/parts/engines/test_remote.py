"""What a remote engine asks, and what it makes of the answer."""

import asyncio
import logging
import math
from dataclasses import replace

import pytest
from pydantic import ValidationError

from serve_app.config import describe
from serve_app.config.nodes import NodeSettings
from serve_app.core import ConfigError, Overloaded, PromptTooLong, RequestError, Usage
from serve_app.engines.fake import FakeAnswer, FakeEngine
from serve_app.engines.remote import RemoteEngine
from tests.parts.engines.openai_server import OpenAIServer, event, node_of, raw, refusal, words


def text_of(deltas):
    return "".join(one.text for one in deltas)


async def test_a_call_goes_out_with_the_nodes_defaults_and_asks_for_totals_and_signals(elsewhere, asking, reading):
    server = OpenAIServer()
    engine = await elsewhere(server.app(), max_tokens=9, temperature=0.5, server={"headers": {"x-team": "a"}})
    assert text_of(await reading(engine, asking("hi", seed=3, stop=("###",), top_p=0.9))) == "one two three"
    path, body, headers = server.requests[0]
    assert path == "/v1/chat/completions" and headers["x-team"] == "a" and "authorization" not in headers
    assert body == {
        "model": "served", "stream": True, "stream_options": {"include_usage": True}, "max_tokens": 9, "seed": 3,
        "messages": [{"role": "user", "content": "hi"}], "logprobs": True, "top_logprobs": 5, "temperature": 0.5,
        "top_p": 0.9, "stop": ["###"],
    }  # fmt: skip


async def test_a_raw_prompt_is_continued_without_a_template(elsewhere, asking, reading):
    server = OpenAIServer()
    engine = await elsewhere(server.app())
    deltas = await reading(engine, replace(asking(top_logprobs=2), messages=(), prompt="once upon a time"))
    path, body, _ = server.requests[0]
    assert path == "/v1/completions" and body["prompt"] == "once upon a time" and body["logprobs"] == 5
    assert text_of(deltas) == "one two three" and deltas[-1].usage == Usage(4, 0, 3)
    assert [len(one.tokens[0].top) for one in deltas] == [2, 2, 2] and deltas[0].tokens[0].margin == pytest.approx(3)


async def test_signals_are_the_servers_and_what_it_does_not_tell_is_estimated(elsewhere, asking, reading):
    script = FakeEngine(default=FakeAnswer("yes no", logprob=(-0.2, math.log(0.5)), margin=3.0))
    engine = await elsewhere(OpenAIServer(script).app())
    first, second = [one.tokens[0] for one in await reading(engine, asking())]
    assert (first.text, first.logprob, first.margin) == ("yes", -0.2, pytest.approx(3.0))
    assert first.top == () and first.token_id != second.token_id
    reported = [math.exp(x) for x in (-0.2, -3.2, -4.2, -5.2, -6.2)]
    assert first.entropy == pytest.approx(-sum(share * math.log(share) for share in (*reported, 1 - sum(reported))))
    assert second.entropy > first.entropy


async def test_without_log_probabilities_there_are_no_tokens_and_the_totals_are_right_all_the_same(
    elsewhere, asking, reading
):
    engine = await elsewhere(OpenAIServer(logprobs=False).app())
    deltas = await reading(engine, asking("one two"))
    assert not any(one.tokens for one in deltas) and text_of(deltas) == "one two three"
    assert [one.usage.completion_tokens for one in deltas] == [1, 2, 3] and deltas[-1].usage == Usage(2, 0, 3)


async def test_without_totals_the_estimates_stay(elsewhere, asking, reading):
    engine = await elsewhere(OpenAIServer(usage=False).app())
    deltas = await reading(engine, asking("sixteen letters!"))
    assert deltas[-1].usage == Usage(8, 0, 3) and deltas[-1].finish_reason == "stop"


async def test_cached_tokens_are_counted_and_reported(elsewhere, asking, reading):
    usage = {"prompt_tokens": 10, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 6}}
    act = raw(*words("a", end=False), event({"choices": [{"delta": {}, "finish_reason": "length"}], "usage": usage}))
    engine = await elsewhere(OpenAIServer(acts=[act]).app())
    last = (await reading(engine, asking()))[-1]
    assert (last.usage, last.finish_reason) == (Usage(10, 6, 1), "length")
    info = await engine.info()
    assert (info.prompt_tokens, info.reused_tokens) == (10, 6)


async def test_a_character_in_pieces_and_line_ends_of_all_kinds_arrive_whole(elsewhere, asking, reading):
    whole = b"".join(words("水\u2028", "é")).replace(b"\n", b"\r\n")
    whole = whole.decode("unicode_escape").encode("utf-16", "surrogatepass").decode("utf-16").encode()
    pieces = [whole[index : index + 1] for index in range(len(whole))]
    engine = await elsewhere(OpenAIServer(acts=[raw(b": ping\r\n\r\n", *pieces)]).app())
    assert text_of(await reading(engine, asking())) == "水\u2028é"


async def test_hidden_reasoning_counts_as_a_token_and_is_not_text(elsewhere, asking, reading):
    thought = event({"choices": [{"delta": {"reasoning_content": "hm"}}]})
    engine = await elsewhere(OpenAIServer(acts=[raw(thought, 0.2, *words("a"))]).app(), remote={
        "first_token_timeout_s": 0.1})  # fmt: skip
    assert text_of(await reading(engine, asking())) == "a"


async def test_what_a_server_does_not_take_is_said_in_another_way_and_remembered(elsewhere, asking, reading):
    unsupported = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens'."
    server = OpenAIServer(
        acts=[
            refusal(400, unsupported, param="max_tokens", code="unsupported_parameter"),
            refusal(400, "logprobs is not supported"),
            refusal(422, "stream_options: extra fields not permitted"),
        ],
        always=raw(*words("fine")),
    )
    engine = await elsewhere(server.app(), max_tokens=5)
    for _ in range(2):
        assert text_of(await reading(engine, asking())) == "fine"
    assert len(server.requests) == 5
    assert server.requests[-1][1].keys() == {
        "model",
        "stream",
        "messages",
        "max_completion_tokens",
        "temperature",
        "top_p",
    }


async def test_alternatives_that_the_caller_wants_are_not_left_out_in_silence(elsewhere, asking, reading):
    server = OpenAIServer(always=refusal(400, "too many", param="top_logprobs", code="invalid_value"))
    engine = await elsewhere(server.app())
    with pytest.raises(RequestError, match=r"served at 127.0.0.1:\d+ refused .* status 400 \(too many\)") as error:
        await reading(engine, asking(top_logprobs=20))
    assert (error.value.param, error.value.code, len(server.requests)) == ("top_logprobs", "invalid_value", 1)


async def test_an_answer_that_does_not_fit_is_shortened_and_a_prompt_is_not(elsewhere, asking, reading):
    said = (
        "'max_tokens' or 'max_completion_tokens' is too large: 300. This model's maximum context length is 128 tokens "
    )
    fits, long = [said + f"and your request has {tokens} input tokens." for tokens in (100, 128)]
    beyond = "max_tokens=300 cannot be greater than max_model_len=128. Please request fewer output tokens."
    acts = [refusal(400, beyond), refusal(400, fits), None, refusal(400, long), refusal(413, "prompt is too long")]
    server = OpenAIServer(acts=acts)
    engine = await elsewhere(server.app(), max_tokens=300)
    assert await reading(engine, asking())
    assert [body["max_tokens"] for _, body, _ in server.requests] == [300, 127, 28]
    with pytest.raises(PromptTooLong, match="the prompt has 128 tokens and the context holds 128"):
        await reading(engine, asking())
    with pytest.raises(PromptTooLong, match="the prompt has about 6 tokens and the context holds 2048"):
        await reading(engine, asking("hello"))


async def test_the_key_comes_from_the_environment_and_is_shown_nowhere(elsewhere, asking, reading, monkeypatch, caplog):
    monkeypatch.setenv("FAR_KEY", "sk-very-secret")
    caplog.set_level(logging.DEBUG)
    server = OpenAIServer(acts=[None, refusal(400, "your key sk-very-secret may not")])
    engine = await elsewhere(server.app(), server={"api_key_env": "FAR_KEY"})
    await reading(engine, asking())
    assert server.requests[0][2]["authorization"] == "Bearer sk-very-secret"
    with pytest.raises(RequestError, match=r"your key \*\*\* may not") as error:
        await reading(engine, asking())
    assert "sk-very" not in caplog.text + str(error.value) + repr(vars(engine))


async def test_another_header_may_carry_the_key(elsewhere, asking, reading, monkeypatch):
    monkeypatch.setenv("FAR_KEY", "abc")
    server = OpenAIServer()
    await reading(
        await elsewhere(server.app(), server={"api_key_env": "FAR_KEY", "api_key_header": "api-key"}), asking()
    )
    assert server.requests[0][2]["api-key"] == "abc" and "authorization" not in server.requests[0][2]


async def test_an_engine_without_its_key_or_with_an_adapter_that_nobody_has_does_not_start(monkeypatch):
    monkeypatch.delenv("FAR_KEY", raising=False)
    with pytest.raises(ConfigError, match="FAR_KEY"):
        RemoteEngine(node_of("http://host", server={"api_key_env": "FAR_KEY"}))
    with pytest.raises(ConfigError, match="has adapter 'medical'"):
        RemoteEngine(node_of("http://host"), ["medical"])


async def test_a_call_for_an_adapter_goes_to_a_server_that_has_it(elsewhere, asking, reading):
    without, having = OpenAIServer(), OpenAIServer(FakeEngine(default="law", adapters={"legal": "v1"}))
    engine = await elsewhere(without.app(), having.app(), adapters=["legal"])
    engine._servers[0].settings.adapters.clear()
    deltas = await reading(engine, asking(adapter="legal"))
    assert text_of(deltas) == "law" and deltas[-1].adapter_version == "served-legal" and not without.requests


async def test_a_server_says_how_much_it_holds_and_one_that_says_nothing_or_is_away_is_no_hindrance(elsewhere):
    big = OpenAIServer(models=[{"id": "other"}, {"id": "served", "context_length": 9000}])
    silent = OpenAIServer(models=[])
    engine = await elsewhere(big.app(), silent.app(), "http://127.0.0.1:9", max_context_tokens=64)
    info = await engine.info()
    assert (info.model, info.max_context_tokens, info.device) == ("elsewhere", 9000, "remote")
    assert (await (await elsewhere(silent.app(), max_context_tokens=64)).info()).max_context_tokens == 64


async def test_a_connection_serves_call_after_call(elsewhere, asking, reading):
    server = OpenAIServer()
    engine = await elsewhere(server.app())
    for _ in range(4):
        await reading(engine, asking())
    assert len(server.ports) == 1


async def test_a_client_that_leaves_closes_the_connection_at_once(elsewhere, asking, until):
    server = OpenAIServer(FakeEngine(default="word " * 50, token_s=0.05))
    engine = await elsewhere(server.app())
    stream = engine.generate(asking())
    await anext(stream)
    await stream.aclose()
    await until(lambda: server.engine.cancelled)
    assert (await engine.info()).active_rows == 0


async def test_a_call_cancelled_before_its_first_token_closes_the_connection_too(elsewhere, asking, reading, until):
    server = OpenAIServer(FakeEngine(first_token_s=2))
    engine = await elsewhere(server.app())
    call = asyncio.create_task(reading(engine, asking()))
    await until(lambda: server.engine.calls)
    connections = [one.client._transport._pool for one in engine._servers]
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert [pool.connections for pool in connections] == [[]]


async def test_more_calls_than_rows_wait_and_more_than_may_wait_are_refused(elsewhere, asking, reading):
    server = OpenAIServer(FakeEngine(default="one", first_token_s=0.05))
    engine = await elsewhere(server.app(), max_rows=1, max_waiting=1)
    calls = [asyncio.create_task(reading(engine, asking())) for _ in range(3)]
    await asyncio.sleep(0.02)
    info = await engine.info()
    assert (info.active_rows, info.waiting_calls) == (1, 1)
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(one) for one in results] == [list, list, Overloaded]


@pytest.mark.parametrize(
    ("server", "said"),
    [
        ({"base_url": "http://user:pw@host"}, "may hold no user"),
        ({"api_key_env": "sk-very secret"}, "never the key itself"),
        ({"headers": {"Authorization": "Bearer sk-very"}}, "carries a secret"),
        ({"headers": {"x-a": "two\nlines"}}, "no header that HTTP can carry"),
        ({"leave_out": ["messages"]}, "no call can do without 'messages'"),
    ],
)
def test_settings_that_hold_secrets_or_nonsense_are_refused_and_not_repeated(server, said):
    with pytest.raises(ValidationError) as error:
        node_of("http://host", server=server)
    shown = describe(error.value)
    assert said in shown and "pw" not in shown and "sk-very" not in shown


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"engine": "openai"}, "needs a section `remote`"),
        ({"remote": {"servers": [{"base_url": "http://host", "model": "m"}]}}, "means nothing to engine local"),
    ],
)
def test_the_engine_and_its_section_come_together(keys, said):
    with pytest.raises(ValueError, match=said):
        NodeSettings(model="m", **keys)
