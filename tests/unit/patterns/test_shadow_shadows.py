"""Background work is bounded, ends in exactly one count, and never troubles whoever offered it."""

import asyncio
import logging

import pytest

from serve_app.core import EngineError, Overloaded
from serve_app.patterns.shadow import Shadows


class Gate:
    """Work that waits until it is let go, or raises what it is told to."""

    def __init__(self, error=None):
        self.error, self.opened = error, asyncio.Event()
        self.num_begun = self.num_cleaned = 0

    async def work(self):
        self.num_begun += 1
        try:
            await self.opened.wait()
            if self.error:
                raise self.error
        finally:
            self.num_cleaned += 1


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0)


def counts(shadows):
    return {
        name: count
        for name in ("finished", "dropped", "timed_out", "failed", "cancelled")
        if (count := getattr(shadows, f"num_{name}"))
    }


async def test_work_runs_beside_whoever_offered_it():
    shadows, gate = Shadows(2, 60), Gate()
    assert shadows.submit("one", gate.work)
    assert (shadows.num_running, gate.num_begun) == (1, 0)
    await until(lambda: gate.num_begun)
    gate.opened.set()
    await until(lambda: not shadows.num_running)
    assert counts(shadows) == {"finished": 1}


async def test_what_is_too_much_is_dropped_and_never_begun():
    shadows, gate, other = Shadows(2, 60), Gate(), Gate()
    assert [shadows.submit("one", gate.work) for _ in range(2)] == [True, True]
    assert not shadows.submit("two", other.work)
    gate.opened.set()
    await until(lambda: not shadows.num_running)
    assert shadows.submit("three", gate.work)
    await until(lambda: not shadows.num_running)
    assert other.num_begun == 0
    assert counts(shadows) == {"finished": 3, "dropped": 1}


async def test_the_bound_may_be_changed():
    shadows, gate = Shadows(1, 60), Gate()
    shadows.max_concurrent = 2
    assert shadows.submit("one", gate.work)
    assert shadows.submit("two", gate.work)
    await shadows.close()


@pytest.mark.parametrize(("error", "has_traceback"), [(EngineError("broke off"), False), (ZeroDivisionError(), True)])
async def test_an_error_is_counted_and_logged_and_goes_no_further(error, has_traceback, caplog):
    shadows, gate = Shadows(1, 60), Gate(error)
    gate.opened.set()
    shadows.submit("audit of query q1", gate.work)
    await until(lambda: not shadows.num_running)
    assert counts(shadows) == {"failed": 1}
    (record,) = caplog.records
    assert record.message == f"audit of query q1 failed: {error}"
    assert bool(record.exc_info) is has_traceback


async def test_a_full_engine_drops_work_too(caplog):
    shadows, gate = Shadows(1, 60), Gate(Overloaded("full"))
    gate.opened.set()
    with caplog.at_level(logging.INFO):
        shadows.submit("one", gate.work)
        await until(lambda: not shadows.num_running)
    assert counts(shadows) == {"dropped": 1}
    assert "full" in caplog.text


async def test_work_that_takes_too_long_is_given_up_and_cleans_up(caplog):
    shadows, gate = Shadows(1, 0.001), Gate()
    shadows.submit("one", gate.work)
    await until(lambda: not shadows.num_running)
    assert counts(shadows) == {"timed_out": 1}
    assert gate.num_cleaned == 1
    assert "given up after 0.001 s" in caplog.text


async def test_closing_waits_until_the_work_under_way_has_cleaned_up():
    shadows, gate = Shadows(2, 60), Gate()
    shadows.submit("one", gate.work)
    await until(lambda: gate.num_begun)
    shadows.submit("not begun yet", gate.work)
    await shadows.close()
    assert (gate.num_begun, gate.num_cleaned, shadows.num_running) == (1, 1, 0)
    assert counts(shadows) == {"cancelled": 2}
    assert not shadows.submit("late", gate.work)
    await shadows.close()
    assert counts(shadows) == {"cancelled": 2, "dropped": 1}


async def test_an_engine_that_stops_and_cancels_its_callers_is_counted():
    shadows, gate = Shadows(1, 60), Gate(asyncio.CancelledError())
    gate.opened.set()
    shadows.submit("one", gate.work)
    await until(lambda: not shadows.num_running)
    assert counts(shadows) == {"cancelled": 1}


async def test_the_end_of_the_query_does_not_end_its_shadow():
    shadows, gate = Shadows(1, 60), Gate()

    async def query():
        shadows.submit("one", gate.work)
        await asyncio.Event().wait()

    task = asyncio.create_task(query())
    await until(lambda: gate.num_begun)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert shadows.num_running == 1
    gate.opened.set()
    await until(lambda: not shadows.num_running)
    assert counts(shadows) == {"finished": 1}
