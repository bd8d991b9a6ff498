"""A query ends in time, whoever holds it up, and is billed as timed out."""

import asyncio
from contextlib import closing, suppress

import pytest

from serve_app.core import DeadlineExceeded, Delta, EngineError, Query, ReplicaLost, SamplingParams, TokenStat, Usage
from serve_app.engines.fake import FakeAnswer, FakeEngine
from serve_app.gateway.deadline import Alarm, in_time
from serve_app.gateway.in_flight import Place

SHORT = {"x-headrace-timeout-s": "0.05"}


class Deaf(FakeEngine):
    """Takes no notice of the time it is given, and hangs after its first words."""

    num_words = 0
    num_closed = 0

    async def generate(self, call):
        self.calls.append(call)
        try:
            for index in range(self.num_words):
                yield Delta("word ", (TokenStat(0, "word ", -0.01, 0.1, 1.0),), None, Usage(7, 0, index + 1))
            await asyncio.Event().wait()
        finally:
            self.num_closed += 1


def deaf(num_words=0):
    engine = Deaf()
    engine.num_words = num_words
    return engine


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("model", "num_words"), [("base", 0), ("auto", 1), ("auto", 0)])
async def test_an_engine_that_does_not_heed_its_time_is_given_up(make_world, stream, model, num_words):
    world = make_world(small=deaf(num_words))
    response = await world.chat(model=model, stream=stream, headers=SHORT)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (504, "deadline_exceeded")
    assert "0.05 s" in error["message"]
    assert "x-headrace-timeout-s" in error["message"]
    assert world.small.num_closed == len(world.small.calls) == 1
    [account] = await world.accounts()
    assert (account.outcome, account.attempts[-1].outcome) == ("timed_out", "timed_out")
    assert account.attempts[-1].usage.completion_tokens == num_words
    assert world.services.in_flight.num_queries == 0
    assert not world.large.calls


async def test_time_that_is_up_while_text_goes_out_ends_the_stream_with_an_error_event(make_world, events):
    world = make_world(small=deaf(5))
    response = await world.chat(stream=True, headers=SHORT, n=2)
    data = events(response)
    assert (response.status_code, data[-1]["error"]["code"]) == (200, "deadline_exceeded")
    [account] = await world.accounts()
    assert [one.outcome for one in account.attempts if one.role == "answer"] == ["timed_out"] * 2


@pytest.mark.parametrize("stream", [False, True])
async def test_admission_hears_of_the_first_text_before_the_answer_is_whole(make_world, monkeypatch, stream):
    told = asyncio.Event()
    monkeypatch.setattr(Place, "first_text", lambda place: told.set())
    world = make_world(small=deaf(1))
    asked = asyncio.create_task(world.chat(model="base", stream=stream))
    async with asyncio.timeout(10):
        await told.wait()
    assert not asked.done()
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)


async def test_every_engine_is_told_what_is_left(world):
    await world.chat("hard", headers={"x-headrace-timeout-s": "20"})
    [small], [large] = world.small.calls, world.large.calls
    assert 0 < large.timeout_s <= small.timeout_s <= 20


@pytest.mark.parametrize("asked", [None, "1e9"])
async def test_the_setting_is_the_usual_time_and_the_most(make_world, asked):
    world = make_world(overrides={"gateway": {"timeout_s": 50}})
    await world.chat(headers={"x-headrace-timeout-s": asked} if asked else None)
    assert 0 < world.small.calls[0].timeout_s <= 50


@pytest.mark.parametrize("value", ["soon", "0", "-1", "nan", "inf", ""])
async def test_a_time_that_is_none_is_the_client_s_mistake(world, value):
    response = await world.chat(headers={"x-headrace-timeout-s": value})
    error = response.json()["error"]
    assert (response.status_code, error["param"], error["code"]) == (400, "x-headrace-timeout-s", "invalid_value")
    assert not world.small.calls


async def test_waiting_for_a_budget_counts(world, monkeypatch):
    async def never(query, num_choices, key):
        await asyncio.Event().wait()

    monkeypatch.setattr(world.services.purse, "reserve", never)
    response = await world.chat(headers=SHORT)
    assert response.status_code == 504
    assert not await world.accounts(), "there was no query yet"


async def test_waiting_for_the_same_request_counts(make_world):
    world = make_world(small=deaf(1))
    headers = {"idempotency-key": "order-1"}
    first = asyncio.create_task(world.chat(headers=headers))
    async with asyncio.timeout(10):
        while not world.small.calls:  # noqa: ASYNC110  a list has no event
            await asyncio.sleep(0)
    second = await world.chat(headers=headers | SHORT)
    assert (second.status_code, second.json()["error"]["code"]) == (504, "deadline_exceeded")
    assert len(world.small.calls) == 1
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)


async def test_waiting_for_the_disk_counts(world, monkeypatch):
    async def never():
        await asyncio.Event().wait()

    monkeypatch.setattr(world.services.recorder, "synced", never)
    response = await world.chat(headers=SHORT)
    assert response.status_code == 504
    assert [(account.outcome, account.attempts) for account in await world.accounts()] == [("timed_out", ())]


async def test_an_engine_that_heeds_its_time_says_so_itself(make_world):
    world = make_world(small=FakeEngine(default=FakeAnswer("a b c"), first_token_s=60))
    response = await world.chat(headers=SHORT)
    assert (response.status_code, "scripted engine" in response.json()["error"]["message"]) == (504, True)


async def test_an_answer_in_time_is_an_answer(world):
    response = await world.chat(headers={"x-headrace-timeout-s": "60"})
    assert response.status_code == 200


class Asked:
    """A trace of a query whose time is up when the loop comes to it."""

    left_s = -0.2
    is_late = True
    query = Query("q1", "auto", SamplingParams(), prompt="hi", timeout_s=0.5)


async def test_what_is_there_is_given_though_the_time_is_up():
    async def ready():
        for number in range(3):
            yield number
        await asyncio.Event().wait()

    seen = []
    with closing(Alarm(Asked())) as alarm, pytest.raises(DeadlineExceeded, match=r"within 0\.5 s"):
        async for number in in_time(ready(), alarm):
            seen.append(number)
            await asyncio.sleep(0.01)  # a slow client
    assert seen == [0, 1, 2]
    assert asyncio.current_task().cancelling() == 0


async def test_two_steps_in_one_turn_after_the_time_is_up_are_ended_once():
    with closing(Alarm(Asked())) as alarm:
        await asyncio.sleep(0.01)  # it rings while nobody waits
        with alarm:
            pass
        with pytest.raises(DeadlineExceeded), alarm:
            await asyncio.Event().wait()
    assert asyncio.current_task().cancelling() == 0


async def test_a_client_that_leaves_when_the_time_is_up_has_left():
    async def step():
        with closing(Alarm(Asked())) as alarm, alarm:
            await asyncio.Event().wait()

    task = asyncio.create_task(step())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("was_cancelled", [False, True])
async def test_a_replica_that_is_lost_when_the_time_is_up_is_time_that_is_up(was_cancelled):
    async def losing():
        with suppress(asyncio.CancelledError):
            await (asyncio.Event().wait() if was_cancelled else asyncio.sleep(0))
        raise ReplicaLost("The replica is lost.")

    with closing(Alarm(Asked())) as alarm, pytest.raises(DeadlineExceeded), alarm:
        await losing()
    assert asyncio.current_task().cancelling() == 0


async def test_an_error_in_the_last_moment_is_itself():
    async def stubborn():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise EngineError("It broke.") from None

    with closing(Alarm(Asked())) as alarm:
        with pytest.raises(EngineError), alarm:
            await stubborn()
        assert asyncio.current_task().cancelling() == 0
