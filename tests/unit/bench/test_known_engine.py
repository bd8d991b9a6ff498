"""The engine of known capacity: rows, who is next, what is refused."""

import asyncio
import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from serve_app.core import Call, Message, Overloaded, SamplingParams


@pytest.fixture
def known(repo: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The bench's module, which is not installed with the package."""
    monkeypatch.syspath_prepend(str(repo))
    return importlib.import_module("bench.cluster.known")


def call(name: str, priority: int = 0) -> Call:
    return Call(name, SamplingParams(), (Message("user", "hi"),), priority=priority)


async def answer(engine: Any, one: Call, ended: list[str]) -> str:
    text = "".join([delta.text async for delta in engine.generate(one)])
    ended.append(one.call_id)
    return text


async def test_one_that_waits_goes_by_priority_and_one_too_many_is_refused(known: ModuleType) -> None:
    engine, ended = known.KnownEngine("m", {}, 1, 2, 0.001, 0.002), []
    calls = [call("first"), call("late", -1), call("early", 1)]
    async with asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(answer(engine, one, ended)) for one in calls]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await answer(engine, call("too many"), ended)
    assert ended == ["first", "early", "late"]
    assert {task.result() for task in asked} == {"four words of answer"}


async def test_a_call_that_is_left_gives_its_place_and_its_row_back(known: ModuleType) -> None:
    engine, ended = known.KnownEngine("m", {}, 1, 8, 60.0, 60.0), []
    tasks = [asyncio.create_task(answer(engine, call(name), ended)) for name in ("row", "waits")]
    await asyncio.sleep(0)
    for task in reversed(tasks):
        task.cancel()
    await asyncio.wait(tasks)
    engine.first_s = engine.hold_s = 0.0
    assert await answer(engine, call("next"), ended) == "four words of answer"
    assert (await engine.info()).active_rows == 0
