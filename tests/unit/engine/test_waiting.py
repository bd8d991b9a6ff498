"""Whose turn it is, with no rows to give."""

import random

import pytest

from serve_app.engine import waiting
from serve_app.engine.request import Discard, Request, Row
from serve_app.engine.waiting import WaitingQueue


def ask(name, adapter=None, key=None, priority=0, prompt=3):
    return Request(name, tuple(range(prompt)), 4, Discard(), adapter, key=key, priority=priority)


def queue_of(*requests):
    queue = WaitingQueue()
    for request in requests:
        queue.add(request)
    queue.check()
    return queue


def turns(queue, rows=(), open_to=lambda adapter: True):
    return [request.request_id for request in queue.in_turn(rows, open_to)]


def serve(queue, num_tokens=10):
    """Take whoever is first and charge it."""
    request = next(queue.in_turn((), lambda adapter: True))
    queue.charge(queue.take(request.request_id), num_tokens, 0)
    queue.check()
    return request.request_id


def test_within_one_key_the_oldest_goes_first():
    assert turns(queue_of(ask("a"), ask("b"), ask("c"))) == ["a", "b", "c"]


def test_higher_priority_goes_first_whatever_was_served():
    queue = queue_of(ask("low", "x"), ask("high", "y", priority=2), ask("middle", "x", priority=1))
    queue.charge(ask("", "y"), 1000, 0)
    assert turns(queue) == ["high", "middle", "low"]


def test_adapters_take_turns_by_tokens_not_by_requests():
    queue = queue_of(*(ask(f"long-{at}", "long") for at in range(4)), *(ask(f"short-{at}", "short") for at in range(8)))
    order = [serve(queue, 40 if turns(queue)[0].startswith("long") else 10) for _ in range(10)]
    assert [name.split("-")[0] for name in order] == ["long", *["short"] * 4, "long", *["short"] * 4]


def test_keys_take_turns_within_an_adapter_only():
    queue = queue_of(*(ask(f"hot-{at}", "x", key="hot") for at in range(3)), ask("cold", "x", key="cold"))
    queue.add(ask("other", "y", key="hot"))
    assert [serve(queue) for _ in range(5)] == ["hot-0", "other", "cold", "hot-1", "hot-2"]


def test_output_tokens_count_double():
    queue = queue_of(ask("a", "x"), ask("b", "y"))
    queue.charge(ask("", "x"), 0, 6)
    queue.charge(ask("", "y"), 11, 0)
    assert turns(queue) == ["b", "a"]
    assert queue.served(ask("", "x")) == (6 * waiting.OUTPUT_WEIGHT, 6 * waiting.OUTPUT_WEIGHT)


def test_prompt_tokens_ahead_of_rows_count_when_turns_are_taken():
    queue = queue_of(ask("a", "x"), ask("b", "y"))
    row = Row(ask("row", "x", prompt=9), 0, 0, random.Random(0), num_prefilled=4)
    assert turns(queue, rows=[row]) == ["b", "a"]
    row.num_prefilled = 9
    assert turns(queue, rows=[row]) == ["a", "b"]


def test_idle_time_earns_no_credit():
    queue = queue_of(*(ask(f"busy-{at}", "busy") for at in range(9)))
    for _ in range(5):
        serve(queue, 100)
    for at in range(3):
        queue.add(ask(f"new-{at}", "new"))
    assert [serve(queue, 100) for _ in range(4)] == ["busy-5", "new-0", "busy-6", "new-1"]


def test_newcomer_to_an_empty_queue_is_lifted_to_the_last_that_waited():
    queue = queue_of(ask("a", "x"))
    serve(queue, 500)
    queue.add(ask("b", "y"))
    assert queue.served(ask("", "y"))[0] == 500


def test_debt_outlives_a_pause_but_not_an_idle_engine():
    queue = queue_of(ask("a", "x"), ask("b", "y"))
    serve(queue, 500)
    queue.add(ask("c", "x"))
    assert turns(queue) == ["b", "c"]
    queue.start_over()
    assert queue.served(ask("", "x")) == (0, 0)


def test_adapter_that_is_not_open_is_passed_over_and_asked_about_once():
    queue = queue_of(ask("a", "x"), ask("b", "x"), ask("c", "y"))
    asked = []

    def open_to(adapter):
        asked.append(adapter)
        return adapter != "x"

    assert turns(queue, open_to=open_to) == ["c"]
    assert asked == ["x", "y"]


def test_counters_are_bounded_and_those_that_wait_are_kept(monkeypatch):
    monkeypatch.setattr(waiting, "MAX_CLIENTS", 10)
    queue = queue_of(ask("kept", "x", key="kept"))
    for at in range(100):
        queue.add(ask(f"{at}", "x", key=f"key-{at}"))
        queue.charge(queue.take(f"{at}"), 5 + at, 0)
    assert len(queue._keys["x"]._served) <= 11
    queue.check()
    assert turns(queue) == ["kept"]


def test_request_that_does_not_wait_cannot_be_taken():
    with pytest.raises(KeyError):
        queue_of(ask("a")).take("b")
