"""The policy and its books, with no model."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.core import EngineError, Overloaded
from serve_app.engine.request import Discard, Request
from serve_app.engine.scheduler import Scheduler


def ask(name, adapter=None, prompt=3, max_tokens=4):
    return Request(name, tuple(range(prompt)), max_tokens, Discard(), adapter)


def advance(scheduler):
    """What the loop does with a plan, minus the model; names of the rows that finished."""
    scheduler.drop_cancelled()
    plan = scheduler.plan()
    for chunk in plan.chunks:
        chunk.row.num_prefilled = chunk.end
    for row in plan.sampled:
        row.output_ids.append(0)
    finished = [row for row in plan.sampled if len(row.output_ids) == row.request.max_tokens]
    for row in finished:
        scheduler.release(row)
    return plan, [row.request.request_id for row in finished]


def test_queue_full_raises_overloaded_only_when_the_rows_are_spoken_for():
    scheduler = Scheduler(max_rows=2, max_waiting=1, prefill_tokens=64)
    for name in "abc":
        scheduler.add(ask(name))
    with pytest.raises(Overloaded, match="all 2 rows are busy and 1 requests wait") as error:
        scheduler.add(ask("d"))
    assert error.value.retry_after_s >= 1
    advance(scheduler)
    with pytest.raises(Overloaded):
        scheduler.add(ask("d"))
    scheduler.cancel("c")
    scheduler.add(ask("d"))


def test_engine_without_a_queue_still_takes_what_its_rows_hold():
    scheduler = Scheduler(max_rows=1, max_waiting=0, prefill_tokens=64)
    scheduler.add(ask("a"))
    with pytest.raises(Overloaded):
        scheduler.add(ask("b"))


def test_same_id_twice_at_once_is_refused():
    scheduler = Scheduler(max_rows=2, max_waiting=2, prefill_tokens=64)
    scheduler.add(ask("a"))
    with pytest.raises(EngineError, match="already being answered"):
        scheduler.add(ask("a"))


def test_free_row_goes_to_the_adapter_with_the_fewest_rows():
    scheduler = Scheduler(max_rows=3, max_waiting=9, prefill_tokens=64)
    for name in ("hot-1", "hot-2", "hot-3", "hot-4"):
        scheduler.add(ask(name, adapter=0))
    scheduler.add(ask("cold", adapter=1))
    plan, _ = advance(scheduler)
    assert [chunk.row.request.request_id for chunk in plan.chunks] == ["hot-1", "cold", "hot-2"]


def test_long_prompt_is_cut_and_the_others_keep_decoding():
    scheduler = Scheduler(max_rows=3, max_waiting=9, prefill_tokens=10)
    scheduler.add(ask("short", max_tokens=9))
    advance(scheduler)
    scheduler.add(ask("long", prompt=25))
    scheduler.add(ask("next", prompt=2))
    parts = []
    for _ in range(3):
        plan, _ = advance(scheduler)
        assert plan.decodes[0].request.request_id == "short"
        parts.append([(chunk.row.request.request_id, chunk.start, chunk.end) for chunk in plan.chunks])
    assert parts == [[("long", 0, 10)], [("long", 10, 20)], [("long", 20, 25), ("next", 0, 2)]]


def test_moves_close_the_gap_and_keep_the_prefilling_row_last():
    scheduler = Scheduler(max_rows=4, max_waiting=9, prefill_tokens=6)
    for name in ("a", "b"):
        scheduler.add(ask(name, max_tokens=9))
    advance(scheduler)
    scheduler.add(ask("long", prompt=20))
    advance(scheduler)
    moves = scheduler.release(scheduler.rows[0])
    assert [(move.source, move.target, move.num_tokens) for move in moves] == [(1, 0, 4), (2, 1, 6)]
    assert [row.request.request_id for row in scheduler.rows] == ["b", "long"]
    scheduler.check()


def test_cancelling_a_waiting_request_is_immediate_and_an_unknown_one_is_no_error():
    scheduler = Scheduler(max_rows=1, max_waiting=9, prefill_tokens=6)
    scheduler.add(ask("a"))
    scheduler.add(ask("b"))
    assert scheduler.cancel("b") and not scheduler.cancel("b") and not scheduler.cancel("never")
    assert scheduler.num_waiting == 1


requests = st.tuples(st.sampled_from([None, 0, 1, 2]), st.integers(1, 40), st.integers(1, 6))
actions = st.lists(
    st.one_of(st.just("step"), requests, st.integers(0, 30)), max_size=60
)  # a step, a new request, or the cancellation of the n-th request


@settings(max_examples=120, deadline=None)
@given(actions=actions, max_rows=st.integers(1, 4), max_waiting=st.integers(0, 5), prefill=st.integers(1, 30))
def test_no_request_is_lost_or_answered_twice_and_rows_stay_within_bounds(actions, max_rows, max_waiting, prefill):
    scheduler = Scheduler(max_rows, max_waiting, prefill)
    accepted, cancelled, finished = [], set(), []
    for action in [*actions, *["step"] * 2000]:
        if action == "step":
            plan, names = advance(scheduler)
            finished += names
            assert sum(chunk.end - chunk.start for chunk in plan.chunks) <= prefill
            assert [row.index for row in scheduler.rows] == list(range(len(scheduler.rows)))
            assert sum(row.prefilling for row in scheduler.rows) <= 1
            assert not any(row.prefilling for row in scheduler.rows[:-1])
        elif isinstance(action, tuple):
            name = f"request-{len(accepted)}"
            adapter, prompt, max_tokens = action
            free = max_rows - len(scheduler.rows)
            if scheduler.num_waiting < free + max_waiting:
                scheduler.add(ask(name, adapter, prompt, max_tokens))
                accepted.append(name)
        elif scheduler.cancel(f"request-{action}"):
            cancelled.add(f"request-{action}")
        assert len(scheduler.rows) <= max_rows and scheduler.num_waiting <= max_rows + max_waiting
        scheduler.check()
        if scheduler.idle and action == "step" and len(finished) + len(cancelled) == len(accepted):
            break
    assert scheduler.idle
    assert sorted(finished) == sorted(set(accepted) - cancelled)


@settings(max_examples=40, deadline=None)
@given(max_rows=st.integers(1, 4), num_hot=st.integers(1, 3), length=st.integers(1, 6))
def test_no_adapter_starves_under_a_flood_of_others(max_rows, num_hot, length):
    """A cold adapter waits for at most one row of each hot one."""
    scheduler = Scheduler(max_rows, max_waiting=50, prefill_tokens=100)
    serial = 0
    for step in range(60 + length * (num_hot + 1) * 2):
        while scheduler.num_waiting < 20:
            scheduler.add(ask(f"hot-{serial}", adapter=serial % num_hot, max_tokens=length))
            serial += 1
        if step == 20:
            scheduler.add(ask("cold", adapter=9, max_tokens=length))
        plan, _ = advance(scheduler)
        if any(chunk.row.request.request_id == "cold" for chunk in plan.chunks):
            break
    else:
        pytest.fail("the cold adapter never got a row")
    assert step <= 20 + length * (num_hot + 1)
