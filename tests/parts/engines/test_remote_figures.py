"""What an engine tells of its servers: who answered, who failed and how, who is left alone, and who waited."""

import logging
from collections.abc import Callable
from typing import Any

import pytest

from serve_app.core import EngineError, RequestError
from serve_app.telemetry import instruments as its
from serve_app.telemetry.instruments import Instrumented, at_node
from tests.parts.engines.openai_server import OpenAIServer, raw, refusal, words


def told(engine: Instrumented, instrument: its.Instrument) -> dict[tuple[str, ...], float]:
    """Its readings, by their labels without the server's port."""
    readings = at_node("fallback", engine)()
    return {
        tuple(label.partition(" at ")[0] for label in one.labels): one.value
        for one in readings
        if one.instrument is instrument
    }


@pytest.fixture
def engine_over(elsewhere: Any) -> Callable[..., Any]:
    async def build(*servers: OpenAIServer, **options: Any) -> Any:
        return await elsewhere(*(one.app() for one in servers), **options)

    return build


async def test_each_server_is_counted_by_what_came_of_asking_it(engine_over, reading, asking):
    server = OpenAIServer(
        acts=[refusal(500), refusal(429, headers={"retry-after-ms": "200"}), None, raw(*words("a", end=False), b"")]
    )
    engine = await engine_over(server, remote={"max_retries": 3, "backoff_s": 0.01})
    await reading(engine, asking())
    with pytest.raises(EngineError):
        await reading(engine, asking())
    server.always = refusal(400, "seed must be positive", param="seed")
    with pytest.raises(RequestError):
        await reading(engine, asking())
    outcomes = ("failed", "limited", "answered", "broken_off", "rejected")
    assert told(engine, its.REMOTE_CALLS) == {("fallback", "served", outcome): 1 for outcome in outcomes}
    assert told(engine, its.REMOTE_RETRIES) == {("fallback", "served"): 2}
    waits = told(engine, its.REMOTE_WAITS)
    assert 0 < waits["fallback", "rate_limit"] <= 0.2
    assert waits["fallback", "backoff"] >= 0


async def test_a_call_that_its_caller_leaves_is_abandoned(engine_over, asking):
    engine = await engine_over(OpenAIServer())
    deltas = engine.generate(asking())
    await anext(deltas)
    await deltas.aclose()
    assert told(engine, its.REMOTE_CALLS) == {("fallback", "served", "abandoned"): 1}


async def test_the_next_server_answers_and_the_first_is_shown_as_left_alone_until_it_does(
    engine_over, reading, asking, caplog
):
    caplog.set_level(logging.INFO)
    first, second = OpenAIServer(acts=[refusal(500)] * 2), OpenAIServer()
    engine = await engine_over(first, second, remote={"breaker": {"failures": 1, "open_s": 0.2}})
    await reading(engine, asking())
    readings = [one for one in engine.readings() if one.instrument is its.REMOTE_OPEN]
    assert [one.value for one in readings] == [1, 0]
    first.acts.clear()
    while not any("answers again" in record.getMessage() for record in caplog.records):
        await reading(engine, asking())
    assert [one.value for one in engine.readings() if one.instrument is its.REMOTE_OPEN] == [0, 0]
    assert any("it is left alone for" in record.getMessage() for record in caplog.records)
