"""Step, account, deliver, free: with a scripted runner, so that every fault can be had."""

import threading
import time

import pytest

from serve_app.core import EngineError, Overloaded
from serve_app.engine.request import SampledToken

END = 99


class ScriptedRunner:
    """Gives every sampled row the next token of its script; records moves and clears."""

    def __init__(self, script=()):
        self.script, self.cleared, self.moves = list(script), [], []
        self.step_s = 0.0

    def run(self, plan):
        time.sleep(self.step_s)
        outcome = self.script.pop(0) if self.script else 1
        if isinstance(outcome, Exception):
            raise outcome
        return [None if outcome is None else SampledToken(outcome, -0.1, 0.2, 1.0) for _ in plan.sampled]

    def move(self, move):
        self.moves.append((move.source, move.target))

    def clear(self, index):
        self.cleared.append(index)


def test_end_token_stops_and_is_counted(drive):
    driver = drive(ScriptedRunner([5, 6, END]), end_ids=[END])
    sink = driver.submit([1, 2, 3])
    driver.finish()
    assert (sink.ids, sink.finish) == ([5, 6, END], "stop")
    assert (sink.usages[-1].prompt_tokens, sink.usages[-1].completion_tokens) == (3, 3)


def test_sink_that_is_satisfied_frees_its_row(drive):
    driver = drive(ScriptedRunner())
    sink = driver.submit([1], stop_after=2)
    driver.finish()
    assert len(sink.ids) == 2 and sink.finish is None


def test_step_time_is_shared_by_tokens_processed_and_adds_up(drive):
    runner = ScriptedRunner()
    runner.step_s = 0.01
    driver = drive(runner)
    long, short = driver.submit([1] * 9, max_tokens=1), driver.submit([1], max_tokens=2)
    start_s = time.perf_counter()
    driver.finish()
    wall_s = time.perf_counter() - start_s
    assert long.usages[-1].busy_s == pytest.approx(9 * short.usages[0].busy_s)
    assert 0.02 <= long.usages[-1].busy_s + short.usages[-1].busy_s <= wall_s


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


def test_cancelling_frees_row_and_queue_place_before_the_next_step(drive):
    driver = drive(ScriptedRunner(), max_rows=1)
    first = driver.submit([1], "first", max_tokens=50)
    driver.loop.step()
    waiting = driver.submit([1], "waiting")
    driver.loop.cancel("first")
    driver.loop.step()
    driver.finish()
    assert len(first.ids) == 1 and waiting.finish == "length"


def test_closing_tells_rows_and_queue_and_refuses_what_comes_later(drive):
    driver = drive(ScriptedRunner(), max_rows=1)
    sinks = [driver.submit([1], max_tokens=10**6), driver.submit([1])]
    thread = threading.Thread(target=driver.loop.run)
    thread.start()
    while not sinks[0].ids:
        time.sleep(0.001)
    driver.loop.close()
    thread.join(timeout=5)
    assert not thread.is_alive()
    assert all("closed" in str(sink.error) for sink in sinks)
    with pytest.raises(EngineError, match="closed"):
        driver.submit([1])
    with pytest.raises(EngineError):
        driver.loop.load()


def test_fault_outside_a_forward_pass_closes_the_engine_and_says_so_to_all(drive):
    runner = ScriptedRunner([RuntimeError("device lost")])
    runner.clear = lambda index: 1 / 0
    driver = drive(runner)
    sink = driver.submit([1])
    driver.loop.run()
    assert "broke down" in str(sink.error)
    with pytest.raises(EngineError, match="broke down"):
        driver.submit([1])


def test_queue_full_is_refused_at_once(drive):
    driver = drive(ScriptedRunner(), max_rows=1)
    for _ in range(65):
        driver.submit([1])
    with pytest.raises(Overloaded):
        driver.submit([1])
