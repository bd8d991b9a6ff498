"""Step, account, deliver, free: with a scripted runner, so that every fault can be had."""

import itertools
import threading
from contextlib import contextmanager

import pytest

from serve_app.core import AdapterError, DeadlineExceeded, EngineError, ModelNotFound, Overloaded
from serve_app.engine.request import Discard, Ensemble, Request
from tests.unit.engine.scripted import Clock, ScriptedRunner

END = 99


def test_end_token_stops_and_is_counted(drive):
    driver = drive(ScriptedRunner([5, 6, END]), end_ids=[END])
    sink = driver.submit([1, 2, 3])
    driver.finish()
    assert (sink.ids, sink.finish) == ([5, 6, END], "stop")
    assert (sink.usages[-1].prompt_tokens, sink.usages[-1].completion_tokens) == (3, 3)


def test_end_token_as_the_last_one_allowed_is_a_stop(drive):
    driver = drive(ScriptedRunner([END]), end_ids=[END])
    sink = driver.submit([1], max_tokens=1)
    driver.finish()
    assert sink.finish == "stop"


def test_sink_that_is_satisfied_frees_its_row(drive):
    driver = drive(ScriptedRunner())
    sink = driver.submit([1], stop_after=2)
    driver.finish()
    assert len(sink.ids) == 2 and sink.finish is None


def test_step_time_is_shared_by_tokens_processed_and_adds_up(drive, monkeypatch):
    clock = Clock()

    def takes_a_second(plan):
        clock.now_s += 1.0
        return 1

    monkeypatch.setattr("serve_app.engine.loop.time.perf_counter", clock)
    driver = drive(ScriptedRunner([takes_a_second] * 2))
    long, short = driver.submit([1] * 9, max_tokens=1), driver.submit([1], max_tokens=2)
    driver.finish()
    assert [usage.busy_s for usage in long.usages] == pytest.approx([0.9])
    assert [usage.busy_s for usage in short.usages] == pytest.approx([0.1, 1.1])


def test_prompt_in_chunks_is_sampled_once_and_its_time_is_counted_from_the_start(drive, monkeypatch):
    clock = Clock()

    def takes_a_second(plan):
        clock.now_s += 1.0
        return 7

    monkeypatch.setattr("serve_app.engine.loop.time.perf_counter", clock)
    runner = ScriptedRunner([takes_a_second] * 3)
    driver = drive(runner, max_rows=1, step_tokens=4)
    sink = driver.submit(range(10), max_tokens=1)
    driver.finish()
    assert [plan.segments[0].token_ids for plan in runner.plans] == [(0, 1, 2, 3), (4, 5, 6, 7), (8, 9)]
    assert sink.ids == [7] and sink.usages[-1].busy_s == 3.0


def test_failing_forward_fails_the_rows_of_that_step_and_the_engine_goes_on(drive):
    runner = ScriptedRunner([1, RuntimeError("out of memory")])
    driver = drive(runner)
    sinks = [driver.submit([1, 2]), driver.submit([3])]
    driver.finish()
    assert all("RuntimeError: out of memory" in str(sink.error) for sink in sinks)
    assert isinstance(sinks[0].error, EngineError) and runner.cleared == [0, 1]
    after = driver.submit([1], max_tokens=3)
    driver.finish()
    assert after.finish == "length"


def test_row_that_was_not_in_the_failing_step_is_not_failed(drive):
    runner = ScriptedRunner([1, RuntimeError("out of memory")])
    driver = drive(runner, max_rows=2, step_tokens=2)
    first, late = driver.submit([1], priority=1), driver.submit([2], priority=0)
    driver.loop.step()
    assert first.ids == late.ids == [1]
    long = [driver.submit([3] * 9)]
    driver.finish()
    assert first.error and late.error and long[0].finish == "length"


def test_nothing_of_a_step_that_failed_is_reused(drive):
    driver = drive(ScriptedRunner([1, RuntimeError("out of memory")]))
    prompt = list(range(40))
    assert not driver.submit(prompt).error
    driver.finish()
    again = driver.submit(prompt, max_tokens=1)
    driver.finish()
    assert again.usages[-1].cached_tokens == 0
    third = driver.submit(prompt, max_tokens=1)
    driver.finish()
    assert third.usages[-1].cached_tokens == 39


def test_row_with_output_that_is_not_finite_fails_alone_and_its_slot_is_zeroed(drive):
    runner = ScriptedRunner([None])
    driver = drive(runner)
    sink = driver.submit([1])
    driver.finish()
    assert "not finite" in str(sink.error) and runner.cleared == [0]


def test_receiver_that_breaks_loses_its_row_and_no_other(drive):
    driver = drive(ScriptedRunner())
    broken, fine = driver.submit([1]), driver.submit([2])
    broken.token = lambda *_: 1 / 0
    driver.finish()
    assert "could not be delivered" in str(broken.error) and fine.finish == "length"


def test_receiver_that_cannot_even_be_told_is_left_alone(drive):
    driver = drive(ScriptedRunner([None]))
    broken = driver.submit([1])
    broken.fail = lambda error: 1 / 0
    driver.finish()
    assert driver.loop.load().active_rows == 0


def test_cancelling_frees_row_and_queue_place_before_the_next_step(drive):
    driver = drive(ScriptedRunner(), max_rows=1)
    first = driver.submit([1], "first", max_tokens=50)
    driver.loop.step()
    left = driver.submit([1], "left")
    waiting = driver.submit([1], "waiting")
    driver.loop.cancel("left")
    driver.loop.cancel("first")
    driver.loop.cancel("never here")
    driver.loop.step()
    driver.finish()
    assert len(first.ids) == 1 and waiting.finish == "length"
    assert not left.ids and left.error is None


def test_queue_full_is_refused_at_once(drive):
    driver = drive(ScriptedRunner(), max_rows=1)
    for _ in range(65):
        driver.submit([1])
    with pytest.raises(Overloaded):
        driver.submit([1])


def test_gate_is_held_during_the_forward_pass_and_not_while_tokens_are_delivered(drive):
    held, seen = [], []
    runner = ScriptedRunner([lambda plan: seen.append(bool(held)) or 1] * 2)

    @contextmanager
    def gate():
        held.append(True)
        yield
        held.pop()

    driver = drive(runner)
    driver.loop._gate = gate
    sink = driver.submit([1], max_tokens=2)
    sink.token = lambda *_: seen.append(bool(held))
    driver.finish()
    assert seen == [True, False, True, False]


# ---- deadlines


def test_request_whose_deadline_passes_fails_whether_it_waits_or_has_a_row(drive):
    clock = Clock()
    driver = drive(ScriptedRunner(), max_rows=1, clock=clock)
    row = driver.submit([1], deadline_s=10.0, max_tokens=50)
    waiting, patient = driver.submit([1], deadline_s=5.0), driver.submit([1], deadline_s=50.0)
    driver.loop.step()
    clock.now_s = 5.0
    driver.loop.step()
    assert isinstance(waiting.error, DeadlineExceeded) and "its turn did not come" in str(waiting.error)
    assert len(row.ids) == 2 and row.error is None
    clock.now_s = 10.0
    driver.loop.step()
    assert isinstance(row.error, DeadlineExceeded) and "not finished within the time" in str(row.error)
    assert len(row.ids) == 2
    driver.finish()
    assert patient.finish == "length"


def test_answer_that_ends_before_its_deadline_does_not_hear_of_it(drive):
    clock = Clock()
    driver = drive(ScriptedRunner(), clock=clock)
    sink = driver.submit([1], deadline_s=1.0, max_tokens=2)
    driver.finish()
    clock.now_s = 2.0
    driver.submit([1], max_tokens=1)
    driver.finish()
    assert sink.finish == "length" and sink.error is None


def test_prompt_of_a_row_that_was_too_late_is_reused(drive):
    clock = Clock()
    driver = drive(ScriptedRunner(), clock=clock)
    driver.submit(range(40), deadline_s=1.0, max_tokens=50)
    driver.loop.step()
    clock.now_s = 1.0
    again = driver.submit(range(40), max_tokens=1)
    driver.finish()
    assert again.usages[-1].cached_tokens == 39


# ---- adapters that come and go


def loading(drive, version="new", num_adapters=0):
    """A driver with a request that waits for an adapter, and another request."""
    driver = drive(ScriptedRunner(), num_adapters=num_adapters)
    driver.loop.add_adapter(version)
    waiting, other = driver.submit([1], adapter=version), driver.submit([2], max_tokens=1)
    driver.loop.step()
    assert other.finish == "length" and not waiting.ids and driver.loop.load().waiting_requests == 1
    return driver, waiting


def test_request_waits_for_its_adapter_while_others_are_answered(drive):
    driver, waiting = loading(drive)
    driver.loop.adapter_loaded(0, "new")
    driver.finish()
    assert waiting.finish == "length" and driver.loop.load().resident_adapters == {"new": 0}
    assert driver.loop._runner.plans[-1].segments[0].row.adapter_slot == 0


def test_request_whose_adapter_cannot_be_loaded_hears_why(drive):
    driver, waiting = loading(drive)
    reason = AdapterError("adapter new: the file is damaged")
    driver.loop.adapter_failed(0, "new", reason)
    driver.finish()
    assert repr(waiting.error) == repr(reason)
    after = driver.submit([1], adapter="new")
    driver.finish()
    assert repr(after.error) == repr(reason), "until it is added again"
    driver.loop.add_adapter("new")
    driver.loop.preload_adapter("new")
    driver.loop.adapter_loaded(0, "new")
    again = driver.submit([1], adapter="new", max_tokens=1)
    driver.finish()
    assert again.finish == "length"


def test_error_of_an_adapter_keeps_nothing_of_who_raised_it(drive):
    driver, waiting = loading(drive)
    try:
        raise AdapterError("adapter new: the file is damaged") from OSError("disk")
    except AdapterError as error:
        driver.loop.adapter_failed(0, "new", error)
    driver.finish()
    sinks = [waiting]
    for _ in range(2):
        with pytest.raises(AdapterError, match="the file is damaged"):
            raise sinks[-1].error
        sinks.append(driver.submit([1], adapter="new"))
        driver.finish()
    assert all(after.error is not before.error for before, after in itertools.pairwise(sinks))
    assert sinks[-1].error.__traceback__ is None and sinks[0].error.__cause__ is None


def test_adapter_that_is_removed_answers_its_rows_and_fails_those_that_wait(drive):
    driver = drive(ScriptedRunner(), max_rows=1, num_adapters=1)
    row, waiting = driver.submit([1], adapter="0", max_tokens=4), driver.submit([2], adapter="0")
    driver.loop.step()
    driver.loop.remove_adapter("0")
    driver.finish()
    assert row.finish == "length" and isinstance(waiting.error, ModelNotFound)
    assert driver.loop.load().resident_adapters == {}


def test_adapter_nobody_knows_is_an_error_of_its_request(drive):
    driver = drive(ScriptedRunner())
    stranger, known = driver.submit([1], adapter="7"), driver.submit([1], adapter="1")
    driver.finish()
    assert isinstance(stranger.error, ModelNotFound) and known.finish == "length"


def test_pinned_adapter_is_loaded_before_it_is_asked_for(drive):
    requested = []
    driver = drive(ScriptedRunner(), num_adapters=1)
    driver.residency._request_load = lambda slot, version: requested.append((slot, version))
    driver.loop.add_adapter("pinned")
    driver.loop.pin_adapter("pinned", True)
    assert requested == [(0, "pinned")], "the one slot held an adapter that no row used"
    driver.loop.adapter_loaded(0, "pinned")
    with pytest.raises(AdapterError, match="cannot be pinned"):
        driver.loop.pin_adapter("0", True)
    driver.loop.pin_adapter("pinned", False)
    driver.loop.pin_adapter("0", True)
    assert requested[-1] == (0, "0")


# ---- the thread, and the end


def test_closing_tells_rows_and_queue_and_refuses_what_comes_later(drive):
    driver = drive(ScriptedRunner(), max_rows=1)
    answering = threading.Event()
    sinks = [driver.submit([1], max_tokens=10**6), driver.submit([1])]
    keep = sinks[0].token
    sinks[0].token = lambda *arguments: answering.set() or keep(*arguments)
    thread = threading.Thread(target=driver.loop.run)
    thread.start()
    assert answering.wait(10)
    driver.loop.close()
    thread.join(timeout=10)
    assert not thread.is_alive()
    assert all("closed" in str(sink.error) for sink in sinks)
    with pytest.raises(EngineError, match="closed"):
        driver.submit([1])
    with pytest.raises(EngineError):
        driver.loop.load()


def test_thread_that_waits_wakes_for_a_request_an_adapter_and_the_end(drive):
    driver = drive(ScriptedRunner(), num_adapters=0)
    thread = threading.Thread(target=driver.loop.run)
    thread.start()
    done = [threading.Event() for _ in range(2)]
    for adapter, event in zip((None, "late"), done, strict=True):
        if adapter is not None:
            driver.loop.add_adapter(adapter)
        sink = driver.submit([1], adapter=adapter, max_tokens=1)
        sink.token = lambda *_, event=event: bool(event.set())
        if adapter is not None:
            driver.loop.preload_adapter(adapter)
            driver.loop.adapter_loaded(0, adapter)
        assert event.wait(10)
    driver.loop.close()
    thread.join(timeout=10)
    assert not thread.is_alive()


def test_closing_while_a_request_waits_for_an_adapter_tells_it(drive):
    driver, waiting = loading(drive)
    driver.loop.close()
    driver.loop.run()
    assert "closed" in str(waiting.error)


def test_fault_outside_a_forward_pass_closes_the_engine_and_says_so_to_all(drive):
    runner = ScriptedRunner([RuntimeError("device lost")])
    runner.clear = lambda slot: 1 / 0
    driver = drive(runner)
    sink = driver.submit([1])
    driver.loop.run()
    assert "broke down" in str(sink.error)
    with pytest.raises(EngineError, match="broke down"):
        driver.submit([1])


def test_rows_hear_of_a_fault_even_where_the_books_are_what_broke(drive, monkeypatch):
    driver = drive(ScriptedRunner([7] * 3))
    sinks = [driver.submit([1], max_tokens=2), driver.submit([2])]
    monkeypatch.setattr(driver.scheduler, "release", lambda row, reusable=True: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        driver.loop.run()
    assert sinks[0].finish == "length" and "broke down" in str(sinks[1].error)


@pytest.mark.parametrize("ensemble", [Ensemble("wide", 3), None])
def test_group_of_more_adapters_than_slots_is_refused_and_not_left_waiting(drive, ensemble):
    driver = drive(ScriptedRunner(), num_adapters=2)
    members = [Request(f"{at}", (1, 2), 3, Discard(), f"{at}", ensemble=ensemble) for at in range(3)]
    with pytest.raises(EngineError, match="3 adapters does not fit the 2 adapter slots"):
        driver.loop.submit(*members)
    assert driver.scheduler.idle


def test_group_finds_no_slot_where_others_are_pinned_and_no_row_where_there_are_too_few(drive):
    driver = drive(ScriptedRunner(), num_adapters=3)
    driver.loop.pin_adapter("2", True)
    members = [Request(f"{at}", (1, 2), 3, Discard(), f"{at}") for at in range(3)]
    with pytest.raises(EngineError, match="3 adapter slots, of which 1 are kept for other"):
        driver.loop.submit(*[Request(name, (1, 2), 3, Discard(), name) for name in ("0", "1", "x")])
    driver.loop.submit(*members)
    many = [Request(f"many-{at}", (1, 2), 3, Discard()) for at in range(driver.scheduler.max_rows + 1)]
    with pytest.raises(EngineError, match=r"does not fit the \d+ rows"):
        driver.loop.submit(*many)
    assert driver.scheduler.num_waiting == 3
