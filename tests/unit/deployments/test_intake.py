"""Who waits for documents to be taken in, how many may, and what becomes of those that left. Ray's part is scripted."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from ray.exceptions import WorkerCrashedError

from serve_app.catalogue import ModelFiles
from serve_app.config.rag import RagSettings
from serve_app.core import CatalogueError, Overloaded, RetrieverError
from serve_app.deployments import ingest
from serve_app.deployments.ingest import Intake, StorePlace
from serve_app.rag import Document, IngestReport

PLACE = StorePlace(RagSettings(), "/nowhere", "small", 1)
REPORT = IngestReport("default", "v1", 1, 0, 1, 10, 0.1)
DOCUMENTS = (Document("a", b"text"),)


class Task:
    """What a Ray task is to its caller: each call is a future that the test ends."""

    def __init__(self) -> None:
        self.calls: list[asyncio.Future[IngestReport]] = []

    def remote(self, *arguments: Any) -> "asyncio.Future[IngestReport]":
        self.calls.append(asyncio.get_running_loop().create_future())
        return self.calls[-1]


@pytest.fixture
def task(monkeypatch: pytest.MonkeyPatch) -> Task:
    found = Task()
    monkeypatch.setattr(Intake, "_task", found)
    return found


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110  what is waited for has no event
            await asyncio.sleep(0)


def asked(intake: Intake) -> "asyncio.Task[IngestReport]":
    return asyncio.ensure_future(intake.ingest(DOCUMENTS, "default", None))


async def test_requests_take_turns_and_too_many_are_told_to_come_back(task: Task) -> None:
    intake = Intake(PLACE)
    waiting = [asked(intake) for _ in range(ingest._MAX_WAITING)]
    await until(lambda: len(task.calls) == 1)
    with pytest.raises(Overloaded, match="16 requests with documents wait"):
        await asked(intake)
    for number in range(len(waiting)):
        await until(lambda number=number: len(task.calls) == number + 1)  # type: ignore[misc]
        task.calls[number].set_result(REPORT)
    assert await asyncio.gather(*waiting) == [REPORT] * len(waiting)


async def test_a_caller_that_leaves_stops_nothing_and_keeps_its_turn(task: Task) -> None:
    intake = Intake(PLACE)
    leaving, staying = asked(intake), asked(intake)
    await until(lambda: len(task.calls) == 1)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    assert not task.calls[0].cancelled() and len(task.calls) == 1
    task.calls[0].set_result(REPORT)
    await until(lambda: len(task.calls) == 2)
    task.calls[1].set_result(REPORT)
    assert await staying == REPORT


async def test_processes_that_keep_dying_are_one_sentence_and_the_next_gets_its_turn(task: Task) -> None:
    intake = Intake(PLACE)
    unlucky, lucky = asked(intake), asked(intake)
    await until(lambda: len(task.calls) == 1)
    task.calls[0].set_exception(WorkerCrashedError())
    with pytest.raises(RetrieverError, match="try again"):
        await unlucky
    await until(lambda: len(task.calls) == 2)
    task.calls[1].set_result(REPORT)
    assert await lucky == REPORT


async def test_what_takes_too_long_is_stopped(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[Any] = []
    monkeypatch.setattr(ingest, "_WITHIN_S", 0.01)
    monkeypatch.setattr(ingest.ray, "cancel", lambda reference, force: stopped.append(reference))
    with pytest.raises(RetrieverError, match="not taken in within"):
        await Intake(PLACE).ingest(DOCUMENTS, "default", None)
    assert stopped == task.calls


def test_tokens_are_counted_by_the_encoder_where_the_small_base_is_not_here(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve(model: str) -> ModelFiles:
        if model == "small" and not small_is_here:
            raise CatalogueError("There is no small.")
        return ModelFiles(model, tmp_path / model, "")

    monkeypatch.setattr(ingest, "resolve", resolve)
    small_is_here = True
    assert PLACE._tokenizer(tmp_path / "encoder") == tmp_path / "small" / "tokenizer.json"
    small_is_here = False
    assert PLACE._tokenizer(tmp_path / "encoder") == tmp_path / "encoder" / "tokenizer.json"
