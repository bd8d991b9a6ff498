"""What a client gets, and what is billed, when a node fails: docs/faults.md, row by row."""

import asyncio
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.core import DeadlineExceeded, EngineError, Overloaded, PromptTooLong, ReplicaLost
from serve_app.engines.fake import FakeAnswer, FakeEngine
from serve_app.patterns import Routed
from tests.properties import examples
from tests.unit.gateway.conftest import KeywordRouter, World

LOST = ReplicaLost("specialists lost the replica that was answering; try again.")
CACHED = {"cache": {"enabled": True}}


class Failing(FakeEngine):
    """Raises the next of `errors` after so many words of each call; None: answers."""

    errors = ()

    async def generate(self, call):
        at, error = self.errors[len(self.calls)] if len(self.calls) < len(self.errors) else (0, None)
        num_sent = 0
        async for delta in super().generate(call):
            if error is not None and num_sent == at:
                raise error
            num_sent += 1
            yield delta


def failing(*errors, **fields):
    engine = Failing(**({"default": "a small answer in seven short words", "adapters": {"legal": "v1"}} | fields))
    engine.errors = errors
    return engine


def with_router(world, router):
    table = world.services.table
    for name in ("auto", "router"):
        pattern = table._reserved[name]
        table._reserved[name] = Routed(
            pattern._answerer, router, world.services.table.routes, world.services.table.adapters
        )
    return world


def value(world, line):
    page, _ = world.services.metrics.exposition()
    return [float(one.split()[-1]) for one in page.decode().splitlines() if one.startswith(line + " ")]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_killed_replica_costs_the_client_nothing_but_time(make_world, stream, events):
    world = make_world(small=failing((0, LOST)))
    response = await world.chat(stream=stream)
    assert response.status_code == 200
    account = events(response)[-2]["headrace"] if stream else response.json()["headrace"]
    assert [one["outcome"] for one in account["attempts"]] == ["accepted", "failed", "accepted"]
    assert account["cost_usd"] == pytest.approx(sum(one["cost_usd"] for one in account["attempts"]))
    assert value(world, 'headrace_retries_total{node="specialists"}') == [1.0]


async def test_a_replica_killed_in_the_middle_of_a_stream_is_one_error_event(make_world, events):
    world = make_world(small=failing((5, LOST)))
    data = events(await world.chat(stream=True))
    assert data[-1]["error"]["message"] == str(LOST)
    assert [account.outcome for account in await world.accounts()] == ["failed"]


@pytest.mark.parametrize("broken", [EngineError("router failed."), Overloaded("Full.", 3), None])
async def test_without_its_router_a_query_gets_the_default_adapter(make_world, broken):
    class Router:
        async def score(self, conversation):
            if broken is None:
                await asyncio.Event().wait()
            raise broken

    world = with_router(make_world(overrides={"routes": {"router_timeout_s": 0.02, "default": "legal"}}), Router())
    account = (await world.chat()).json()["headrace"]
    assert (account["route"], account["adapter"]) == (None, "legal")
    assert account["reason"].endswith(
        f"; the router failed: {str(broken or 'It did not answer within').rstrip('.')}"
    ) or (broken is None and "the router failed: It did not answer within 0.02 s" in account["reason"])
    assert [(one["node"], one["outcome"]) for one in account["attempts"]] == [
        ("router", "failed"),
        ("specialists", "accepted"),
    ]
    assert value(world, 'headrace_degraded_answers_total{cause="router_failed"}') == [1.0]


async def test_a_lost_router_is_asked_once_more(make_world):
    class Router(KeywordRouter):
        num_asked = 0

        async def score(self, conversation):
            self.num_asked += 1
            if self.num_asked == 1:
                raise LOST
            return await super().score(conversation)

    world = with_router(make_world(), Router())
    account = (await world.chat("my contract")).json()["headrace"]
    assert account["route"] == "legal"
    assert [one["outcome"] for one in account["attempts"]] == ["failed", "accepted", "accepted"]
    assert value(world, 'headrace_retries_total{node="router"}') == [1.0]


async def test_a_query_that_loses_its_time_in_the_router_is_timed_out(make_world):
    class Router:
        async def score(self, conversation):
            await asyncio.Event().wait()

    world = with_router(make_world(overrides={"routes": {"router_timeout_s": 60}}), Router())
    assert (await world.chat(headers={"x-headrace-timeout-s": "0.02"})).status_code == 504
    [account] = await world.accounts()
    assert (account.outcome, [one.outcome for one in account.attempts]) == ("timed_out", ["timed_out"])


async def test_a_full_large_model_leaves_the_small_answer(make_world):
    world = make_world(large=failing(*[(0, Overloaded("Too many queries wait for fallback; try again in 1 s."))] * 9))
    response = await world.chat("hard")
    account = response.json()["headrace"]
    assert response.json()["choices"][0]["message"]["content"] == "I am not sure about that"
    assert (account["escalated"], account["model"]) == (False, "small-model")
    assert [(one["outcome"], one["usage"]["completion_tokens"]) for one in account["attempts"][1:]] == [
        ("escalated", 3),
        ("failed", 0),
        ("accepted", 6),
    ]
    assert value(world, 'headrace_degraded_answers_total{cause="large_failed"}') == [1.0]
    assert value(world, 'headrace_escalations_total{route="general"}') == []


@pytest.mark.parametrize(
    "error", [EngineError("It broke."), Overloaded("Full."), PromptTooLong("Too long.", "messages")]
)
async def test_a_small_model_that_fails_leaves_it_to_the_large_one(make_world, error):
    world = make_world(small=failing((0, error)))
    response = await world.chat()
    assert response.json()["choices"][0]["message"]["content"] == "the large model says this"
    assert response.json()["headrace"]["reason"].startswith("the small model failed: ")
    assert value(world, 'headrace_degraded_answers_total{cause="small_failed"}') == [1.0]


@pytest.mark.parametrize("fails", ["small", "large"])
async def test_what_stood_in_is_not_kept_for_the_next_query(make_world, fails):
    bad = failing((0, EngineError("It broke.")))
    world = make_world(overrides=CACHED, **({"small": bad} if fails == "small" else {"large": bad}))
    text = "easy" if fails == "small" else "hard"
    await world.chat(text)
    assert (await world.chat(text)).json()["headrace"].get("cache") is None
    assert (await world.chat(text)).json()["headrace"].get("cache") == "exact", "that one was as configured"


ERRORS = st.sampled_from([LOST, EngineError("It broke."), Overloaded("Full."), DeadlineExceeded("Late."), None])
FAULTS = st.lists(st.tuples(st.integers(0, 4), ERRORS), max_size=4)


@settings(max_examples=examples(60), deadline=None)
@given(
    small=FAULTS,
    large=FAULTS,
    text=st.sampled_from(["easy", "hard"]),
    stream=st.booleans(),
    num_choices=st.integers(1, 2),
)
def test_any_faults_end_in_one_account_that_adds_up_and_no_text_is_sent_twice(small, large, text, stream, num_choices):
    async def run():
        sure = {"easy": "four words of answer", "hard": FakeAnswer("I am not sure about that", logprob=-3.0)}
        world = World(small=failing(*small, script=sure), large=failing(*large, default="the large model says this"))
        response = await world.chat(text, stream=stream, n=num_choices, model="cascade")
        accounts = await world.accounts()
        await world.close()
        return world, response, accounts

    world, response, [account] = asyncio.run(run())
    answers = {"easy": "four words of answer", "hard": "I am not sure about that"}
    whole = {answers[text], "the large model says this"}
    assert account.cost_nusd == sum(attempt.cost_nusd for attempt in account.attempts)
    assert len(account.attempts) == len(world.small.calls) + len(world.large.calls)
    sent = _texts(response, stream, num_choices)
    if account.outcome == "accepted":
        assert response.status_code == 200
        assert set(sent) <= whole
    else:
        assert all(any(one.startswith(text) for one in whole) for text in sent)
    assert world.services.in_flight.num_queries == 0


def _texts(response, stream, num_choices):
    """What was sent of each choice."""
    texts = [""] * num_choices
    if not stream:
        for choice in response.json().get("choices", []):
            texts[choice["index"]] = choice["message"]["content"]
        return texts
    for line in response.text.split("\n\n"):
        body = line.removeprefix("data: ")
        if body.startswith("{"):
            for choice in json.loads(body).get("choices", []):
                texts[choice["index"]] += choice["delta"].get("content", "")
    return texts
