"""The parts of a remote engine that need no server."""

import asyncio
import doctest
import importlib
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.config.remote import BreakerSettings
from serve_app.core import Overloaded
from serve_app.endpoints import Refusal
from serve_app.engines.places import Places
from serve_app.engines.remote.asking import Lengths, lengths_of
from serve_app.engines.remote.breaker import Breaker
from serve_app.engines.remote.events import EventTooLong, event_data
from serve_app.engines.remote.stats import token_stat


@pytest.mark.parametrize(
    "module",
    ["engines.estimates", "engines.remote.asking", "engines.remote.events", "engines.remote.stats", "endpoints.address",
     "endpoints.refusal", "endpoints.waits"],
)  # fmt: skip
def test_examples_in_the_docstrings_hold(module):
    result = doctest.testmod(importlib.import_module(f"serve_app.{module}"))
    assert result.attempted and not result.failed


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def breaker(clock):
    return Breaker(BreakerSettings(failures=2, open_s=10, max_open_s=25), clock)


def fail(breaker, **how):
    breaker.admit().failed(**how)


def test_failures_in_a_row_open_it_and_a_success_between_them_does_not(breaker):
    fail(breaker)
    breaker.admit().succeeded()
    fail(breaker)
    assert breaker.state == "closed"
    fail(breaker)
    assert breaker.state == "open" and breaker.admit() is None and breaker.rest_s == 10


def test_half_open_it_lets_one_call_through_whose_end_decides(breaker, clock):
    fail(breaker, for_good=True)
    clock.now_s = 10
    trial = breaker.admit()
    assert breaker.state == "half_open" and breaker.admit() is None
    trial.failed()
    assert breaker.rest_s == 20
    clock.now_s = 30
    fail(breaker)
    assert breaker.rest_s == 25  # the longest
    clock.now_s = 55
    trial = breaker.admit()
    trial.began()
    assert breaker.state == "closed" and breaker.admit()
    trial.failed()  # in the middle of its answer: one failure, as of any other call
    assert breaker.state == "closed"
    fail(breaker)
    assert breaker.rest_s == 10


def test_a_trial_that_was_given_up_lets_another_be_made(breaker, clock):
    fail(breaker, for_good=True)
    clock.now_s = 10
    breaker.admit().release()
    assert breaker.admit()


def test_calls_from_before_it_opened_change_nothing(breaker, clock):
    early = [breaker.admit() for _ in range(3)]
    fail(breaker, for_good=True)
    clock.now_s = 5
    early[0].failed(for_good=True)
    early[1].succeeded()
    early[2].release()
    assert breaker.state == "open" and breaker.rest_s == 5


async def test_answers_that_break_off_time_after_time_open_it_although_they_begin(breaker):
    for _ in range(2):
        permit = breaker.admit()
        permit.began()
        permit.failed()
        permit.release()
    assert breaker.state == "open"


async def test_places_go_by_priority_and_then_by_arrival():
    places, order = Places(1, 9), []

    async def hold(name, priority):
        async with places.place(priority):
            order.append(name)
            await asyncio.sleep(0)

    async with places.place(0):
        waiting = [asyncio.create_task(hold(name, priority)) for name, priority in [("a", -1), ("b", 0), ("c", 0)]]
        await asyncio.sleep(0)
        assert (places.num_active, places.num_waiting) == (1, 3)
    await asyncio.gather(*waiting)
    assert order == ["b", "c", "a"] and (places.num_active, places.num_waiting) == (0, 0)


async def test_a_place_is_not_lost_with_a_call_that_is_cancelled_while_it_waits_or_as_it_gets_one():
    places = Places(1, 2)

    async def hold():
        async with places.place(0):
            pass

    async with places.place(0):
        early, late = [asyncio.create_task(hold()) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await hold()
        early.cancel()
        await asyncio.sleep(0)
        assert places.num_waiting == 1
    late.cancel()  # it has its place, and has not run yet
    await asyncio.gather(early, late, return_exceptions=True)
    assert (places.num_active, places.num_waiting) == (0, 0)
    await hold()


async def in_pieces(text, cuts):
    places = sorted(cut % (len(text) + 1) for cut in cuts)
    for begin, end in zip([0, *places], [*places, len(text)], strict=True):
        yield text[begin:end]


@given(
    texts=st.lists(st.text(max_size=8), max_size=6),
    end=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    cuts=st.lists(st.integers(0, 10_000), max_size=12),
)
def test_events_are_the_same_however_the_body_is_cut(texts, end, cuts):
    data = [json.dumps(text, ensure_ascii=False).encode() for text in texts]
    body = b": hello" + end + end + b"".join(b"data: " + one + end + b"id: 1" + end + end for one in data)

    async def read():
        return [one async for one in event_data(in_pieces(body, cuts))]

    found = asyncio.run(read())
    assert found == (data if end != b"\r" else data[: len(found)]) and len(found) >= len(data) - 1


async def test_an_event_without_end_is_not_kept():
    async def endless():
        while True:
            yield b"data: " + b"x" * 65_536 + b"\n"

    with pytest.raises(EventTooLong):
        await anext(event_data(endless()))


def test_signals_of_a_token_without_alternatives_are_the_bounds_that_hold_for_any():
    sure, unsure, certain = (token_stat("a", b"a", math.log(p), [], 0) for p in (0.9, 0.4, 1.0))
    assert sure.margin == pytest.approx(math.log(9)) and unsure.margin == 0.0
    assert sure.entropy == pytest.approx(-0.9 * math.log(0.9) - 0.1 * math.log(0.1))
    assert certain.entropy == 0.0 and math.isfinite(certain.margin)


@given(
    logprob=st.floats(allow_nan=True),
    top=st.lists(st.tuples(st.text(max_size=2), st.floats(allow_nan=True)), max_size=5),
    num_top=st.integers(0, 5),
)
def test_whatever_a_server_reports_the_signals_are_numbers_in_their_ranges(logprob, top, num_top):
    stat = token_stat("a", b"a", logprob, top, num_top)
    assert -9999 <= stat.logprob <= 0 <= stat.margin and stat.entropy >= -1e-9 and len(stat.top) <= num_top
    assert all(math.isfinite(one) for one in (stat.logprob, stat.margin, stat.entropy))


@pytest.mark.parametrize(
    ("message", "fields", "lengths"),
    [
        ("This model's maximum context length is 8192 tokens. However, your messages resulted in 10026 tokens. Please "
         "reduce the length of the messages.", {"code": "context_length_exceeded"}, Lengths(10026, 8192)),
        ("This model's maximum context length is 4096 tokens. However, you requested 4300 tokens (4200 in the "
         "messages, 100 in the completion). Please reduce the length.", {}, Lengths(4200, 4096)),
        ("'max_tokens' is too large: 300. This model's maximum context length is 128 tokens and your request has 100 "
         "input tokens (300 > 128 - 100).", {}, Lengths(100, 128)),
        ("request (5000 tokens) exceeds the available context size (4096 tokens), try increasing it",
         {"type": "exceed_context_size_error", "told": {"n_prompt_tokens": 5000, "n_ctx": 4096}}, Lengths(5000, 4096)),
        ("the prompt has 200 tokens and the context holds 128: shorten it", {"code": "context_length_exceeded"},
         Lengths(200, 128)),
        ("prompt is too long", {}, Lengths(None, None)),
        ("temperature must be 0 or more", {}, None),
    ],
)  # fmt: skip
def test_lengths_are_read_from_what_servers_say_of_a_prompt_that_does_not_fit(message, fields, lengths):
    assert lengths_of(Refusal(400, message, **fields)) == lengths
