"""What was last told counts while nobody tells it, and the log hears of a failure once."""

import asyncio
import logging

import pytest

from serve_app.core import LedgerError
from serve_app.snapshots import LastTold

LOG = logging.getLogger("tests.last_told")


class Thing(LastTold):
    """Takes the next of some answers; an exception is raised, and ... is never answered."""

    def __init__(self, *answers, now_s=0.0, timeout_s=0.01):
        super().__init__(LOG, "The thing stays", 0.001, timeout_s, lambda: self.now_s)
        self.answers, self.now_s, self.value = list(answers), now_s, None

    async def refresh(self):
        answer = await self._ask(self._next())
        self.value = self.value if answer is None else answer

    async def _next(self):
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is ...:
            await asyncio.Event().wait()
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_a_failure_leaves_what_was_told_and_is_logged_once(caplog):
    thing = Thing("first", LedgerError("It is away."), ..., "second")
    await thing.refresh()
    thing.now_s = 7.0
    assert (thing.value, thing.last_error, thing.age_s) == ("first", None, 7.0)
    for _ in range(2):
        await thing.refresh()
        assert thing.value == "first"
    assert isinstance(thing.last_error, TimeoutError)
    assert [record.getMessage() for record in caplog.records] == ["The thing stays: It is away."]
    await thing.refresh()
    assert (thing.value, thing.last_error, thing.age_s) == ("second", None, 0.0)


async def test_it_is_tried_until_it_is_known_or_the_time_is_up():
    thing = Thing(LedgerError("It is away."), LedgerError("It is away."), "told")
    await thing._until(lambda: thing.value is not None, 5.0)
    assert thing.value == "told"
    gone = Thing(LedgerError("It is away."))
    ticks = iter(range(100))
    gone._clock = lambda: float(next(ticks))
    await gone._until(lambda: gone.value is not None, 3.0)
    assert gone.value is None
    assert gone.age_s is None


async def test_what_is_no_passing_failure_is_raised():
    class Strict(Thing):
        passing = (LedgerError, TimeoutError)

    with pytest.raises(KeyError):
        await Strict(KeyError("a bug")).refresh()
