"""However a query ends, generation stops and every attempt is billed once."""

import asyncio
import logging
from dataclasses import replace

import openai
import pytest

from serve_app.core import Overloaded
from serve_app.engines.fake import FakeAnswer, FakeEngine

LONG = " ".join(f"word{index}" for index in range(200))


NO_STAND_IN = {"cascade": {"threshold": 0.5, "prefix_tokens": 3, "when_small_fails": "fail"}}


def chat_body(text="slow", **extra):
    return {"model": "auto", "messages": [{"role": "user", "content": text}], **extra}


def slow_engine(**fields):
    return FakeEngine(default=LONG, adapters={"legal": "v1"}, token_s=0.002, **fields)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_escalated_query_bills_both_attempts(world, stream, events):
    response = await world.chat("hard", stream=stream)
    account = events(response)[-2]["headrace"] if stream else response.json()["headrace"]
    router, draft, large = account["attempts"]
    assert (router["node"], router["role"], router["outcome"]) == ("router", "router", "accepted")
    assert (draft["node"], draft["outcome"], draft["usage"]["completion_tokens"]) == ("specialists", "escalated", 3)
    assert (large["node"], large["outcome"], large["adapter"]) == ("fallback", "accepted", None)
    assert account["escalated"] is True
    assert account["cost_usd"] == pytest.approx(draft["cost_usd"] + large["cost_usd"])
    assert account["always_large_usd"] == pytest.approx(large["cost_usd"])
    assert account["saved_usd"] == pytest.approx(-draft["cost_usd"])
    [stored] = await world.accounts()
    assert stored.outcome == "accepted"
    assert stored.query_id == response.headers["x-headrace-query-id"]
    assert world.small.cancelled, "the draft's row was freed before its end"


async def test_usage_counts_the_answer_and_not_the_draft(world):
    assert (await world.chat("hard")).json()["usage"]["completion_tokens"] == 5


@pytest.mark.parametrize("leave_after", [1, 5])
async def test_leaving_a_stream_stops_generation_and_bills_what_was_generated(make_world, leaving_client, leave_after):
    world = make_world(small=slow_engine())
    client = leaving_client(world.app, chat_body(stream=True), leave_after=leave_after)
    await asyncio.wait_for(client.run(), 2)
    assert len(world.small.cancelled) == 1
    [account] = await world.accounts()
    assert account.outcome == "cancelled"
    _, attempt = account.attempts
    assert attempt.outcome == "cancelled"
    assert 3 <= attempt.usage.completion_tokens < 50
    assert account.cost_nusd == 1000 + 2000 * attempt.usage.completion_tokens
    assert account.first_token_ms is not None
    assert world.services.in_flight.num_queries == 0


async def test_a_server_that_reports_leaving_by_oserror_stops_generation_too(make_world, leaving_client):
    world = make_world(small=slow_engine())
    await asyncio.wait_for(
        leaving_client(world.app, chat_body(stream=True), leave_after=2, raise_on_send=True).run(), 2
    )
    assert len(world.small.cancelled) == 1
    assert [account.outcome for account in await world.accounts()] == ["cancelled"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("num_choices", [1, 3])
async def test_leaving_before_the_first_byte_stops_all_choices(make_world, leaving_client, stream, num_choices):
    world = make_world(small=slow_engine(), overrides={"cascade": {"decide": "full"}})
    client = leaving_client(world.app, chat_body(stream=stream, n=num_choices))
    running = asyncio.create_task(client.run())
    await asyncio.sleep(0.03)
    client.leave.set()
    await asyncio.wait_for(running, 2)
    assert len(world.small.cancelled) == num_choices
    assert not world.large.calls
    [account] = await world.accounts()
    assert account.outcome == "cancelled"
    assert [attempt.outcome for attempt in account.attempts if attempt.role == "answer"] == ["cancelled"] * num_choices
    assert client.sent == []


async def test_leaving_while_the_large_model_answers_bills_the_draft_as_escalated(make_world, leaving_client):
    world = make_world(large=slow_engine())
    await asyncio.wait_for(leaving_client(world.app, chat_body("hard", stream=True), leave_after=2).run(), 2)
    [account] = await world.accounts()
    assert [attempt.outcome for attempt in account.attempts if attempt.role == "answer"] == ["escalated", "cancelled"]
    assert account.outcome == "cancelled"
    assert account.cost_nusd == sum(attempt.cost_nusd for attempt in account.attempts) > 0


@pytest.mark.parametrize("stream", [False, True])
async def test_a_cancelled_request_task_is_billed_as_cancelled(make_world, leaving_client, stream):
    """As Ray Serve does it when a client disconnects."""
    world = make_world(small=slow_engine())
    running = asyncio.create_task(leaving_client(world.app, chat_body(stream=stream)).run())
    await asyncio.sleep(0.03)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert len(world.small.cancelled) == 1
    assert [account.outcome for account in await world.accounts()] == ["cancelled"]


@pytest.mark.parametrize("fail_after", [0, 2])
async def test_an_engine_that_fails_before_anything_is_sent_gives_503_in_both_modes(make_world, fail_after):
    small = FakeEngine(default=FakeAnswer("one two three four", fail_after=fail_after))
    world = make_world(small=small, overrides=NO_STAND_IN)
    for stream in (False, True):
        response = await world.chat(stream=stream)
        assert response.status_code == 503
        assert response.json()["error"]["type"] == "server_error"
        assert f"after {fail_after} tokens" in response.json()["error"]["message"]
        assert response.headers["x-headrace-query-id"].startswith("q")
    accounts = await world.accounts()
    assert [account.outcome for account in accounts] == ["failed", "failed"]
    assert [account.attempts[1].usage.completion_tokens for account in accounts] == [fail_after] * 2


async def test_an_engine_that_fails_mid_stream_ends_the_stream_with_an_error_event(make_world, events):
    world = make_world(small=FakeEngine(default=FakeAnswer("a b c d e f", fail_after=5)))
    response = await world.chat(stream=True)
    assert response.status_code == 200
    data = events(response)
    assert "[DONE]" not in data
    assert data[-1]["error"]["code"] == "engine_error"
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in data[:-1]) == "a b c d e"
    [account] = await world.accounts()
    assert (account.outcome, account.attempts[1].usage.completion_tokens) == ("failed", 5)


async def test_the_openai_client_raises_api_error_on_a_stream_that_fails(make_world):
    world = make_world(small=FakeEngine(default=FakeAnswer("a b c d e f", fail_after=5)))
    stream = await world.openai().chat.completions.create(**chat_body(), stream=True)
    with pytest.raises(openai.APIError, match="failed after 5 tokens"):
        _ = [chunk async for chunk in stream]


@pytest.mark.parametrize("stream", [False, True])
async def test_one_failing_choice_fails_the_query_and_stops_the_others(make_world, stream):
    def script(call):
        return FakeAnswer(LONG, fail_after=1) if call.call_id.endswith(":1") else LONG

    world = make_world(
        small=FakeEngine(script, token_s=0.002), overrides={"cascade": {"decide": "full", "when_small_fails": "fail"}}
    )
    assert (await world.chat(n=3, stream=stream)).status_code == 503
    [account] = await world.accounts()
    assert account.outcome == "failed"
    assert sorted(attempt.outcome for attempt in account.attempts if attempt.role == "answer") == [
        "cancelled",
        "cancelled",
        "failed",
    ]


async def test_an_answer_that_breaks_off_without_a_reason_is_an_error(make_world):
    class Silent(FakeEngine):
        async def generate(self, call):
            async for delta in super().generate(call):
                if delta.finish_reason is None:
                    yield delta

    world = make_world(small=Silent(default="one two three four"))
    assert (await world.chat(model="base")).status_code == 503
    assert [account.outcome for account in await world.accounts()] == ["failed"]


@pytest.mark.parametrize("stream", [False, True])
async def test_an_unexpected_fault_is_logged_and_not_shown(make_world, stream, caplog):
    def script(call):
        raise ZeroDivisionError("the secret inside")

    world = make_world(small=FakeEngine(script))
    with caplog.at_level(logging.ERROR):
        response = await world.chat(stream=stream)
    assert response.status_code == 500
    assert "secret" not in response.text
    assert response.json()["error"]["code"] == "internal_error"
    assert "the secret inside" in caplog.text
    assert [account.outcome for account in await world.accounts()] == ["failed"]


class Hurried(FakeEngine):
    """Gives every call five hundredths of a second."""

    async def generate(self, call):
        async for delta in super().generate(replace(call, timeout_s=0.05)):
            yield delta


@pytest.mark.parametrize("stream", [False, True])
async def test_an_engine_that_is_out_of_time_is_504(make_world, stream):
    world = make_world(small=Hurried(first_token_s=9.0))
    response = await world.chat(stream=stream)
    assert response.status_code == 504
    error = response.json()["error"]
    assert (error["type"], error["param"], error["code"]) == ("server_error", None, "deadline_exceeded")
    assert "within 0.05 s" in error["message"]
    assert [account.outcome for account in await world.accounts()] == ["timed_out"]


async def test_time_that_runs_out_mid_stream_ends_the_stream_with_an_error_event(make_world, events):
    world = make_world(small=Hurried(default=LONG, token_s=0.004))
    response = await world.chat(model="base", stream=True)
    assert response.status_code == 200
    assert events(response)[-1]["error"]["code"] == "deadline_exceeded"
    [account] = await world.accounts()
    assert (account.outcome, account.attempts[0].usage.completion_tokens) == ("timed_out", 12)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_full_engine_is_429_with_retry_after(make_world, stream):
    world = make_world(small=FakeEngine(max_calls=0), overrides=NO_STAND_IN)
    response = await world.chat(stream=stream)
    assert response.status_code == 429
    assert response.headers["retry-after"] == "1"
    with pytest.raises(openai.RateLimitError):
        await world.openai().chat.completions.create(**chat_body())


async def test_one_query_over_the_bound_in_flight_is_429_and_not_recorded(make_world):
    world = make_world(small=slow_engine(), overrides={"gateway": {"max_in_flight": 3}})
    running = [asyncio.create_task(world.chat("x", max_tokens=30)) for _ in range(2)]
    while world.services.in_flight.num_queries < 2:  # noqa: ASYNC110  the count has no event
        await asyncio.sleep(0)
    assert (await world.chat("x")).status_code == 429
    assert [response.status_code for response in await asyncio.gather(*running)] == [200, 200]
    assert (await world.chat("x", max_tokens=1)).status_code == 200
    assert len(await world.accounts()) == 3


async def test_new_queries_are_refused_while_no_account_can_be_written_down(make_world, monkeypatch):
    world = make_world()
    world.ledger.broken = True
    monkeypatch.setattr("serve_app.ledger.recorder._MAX_IN_MEMORY", 1)
    assert (await world.chat()).status_code == 200
    response = await world.chat()
    assert (response.status_code, response.json()["error"]["code"]) == (503, "ledger_error")
    assert len(world.recorder._pending) == 1


async def test_a_router_that_fails_is_an_error_and_a_failed_query_where_so_set(make_world):
    class FullRouter:
        async def score(self, conversation):
            raise Overloaded("The router is full; try again later.", 3)

    world = make_world(overrides={"routes": {"when_router_fails": "fail"}})
    world.services.table._reserved["auto"]._router = FullRouter()
    response = await world.chat()
    assert (response.status_code, response.headers["retry-after"]) == (429, "3")
    [account] = await world.accounts()
    assert [(attempt.node, attempt.outcome) for attempt in account.attempts] == [("router", "failed")]
    assert (account.outcome, account.cost_nusd) == ("failed", 0)


async def test_a_query_is_recorded_before_its_last_chunk_is_sent(world, leaving_client):
    client = leaving_client(world.app, chat_body("easy", stream=True))
    pending = []
    send = client._send

    async def watched(message):
        if b"[DONE]" in message.get("body", b""):
            pending.append(world.recorder.num_pending)
        await send(message)

    client._send = watched
    await client.run()
    assert pending == [1]


async def test_new_thresholds_and_prices_hold_from_the_next_query_on(world):
    from serve_app.gateway import Tunables

    assert (await world.chat("hard")).json()["headrace"]["escalated"] is True
    prices = world.services.settings.prices.model_dump(mode="json") | {"version": "test-2"}
    world.services.reconfigure(Tunables.model_validate({"cascade": {"threshold": 0.0}, "prices": prices}))
    account = (await world.chat("hard")).json()["headrace"]
    assert account["escalated"] is False
    assert account["price_version"] == "test-2"


async def test_prices_that_lack_a_served_model_change_nothing(world):
    from serve_app.core import ConfigError
    from serve_app.gateway import Tunables

    bad = Tunables.model_validate(
        {
            "cascade": {"threshold": 0.0},
            "prices": {
                "version": "x",
                "models": {"small-model": {"input_usd_per_mtok": "1", "output_usd_per_mtok": "1"}},
            },
        }
    )
    with pytest.raises(ConfigError, match="large-model"):
        world.services.reconfigure(bad)
    assert (await world.chat("hard")).json()["headrace"]["escalated"] is True


async def test_leaving_while_the_body_is_read_is_quiet_and_no_query(world, leaving_client, caplog):
    client = leaving_client(world.app, chat_body())
    client._asked = True
    client.leave.set()
    await asyncio.wait_for(client.run(), 2)
    assert not world.small.calls
    assert not caplog.records
    assert not await world.accounts()
