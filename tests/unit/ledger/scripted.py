"""A ledger in a dict, what a crash leaves behind, and a way to wait."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from serve_app.core import Answer, LedgerError, Opening
from serve_app.ledger.journal import Journal

KIB = 1 / 1024
"""Of a mebibyte, the unit of the journal's sizes."""


class ScriptedLedger:
    """Keeps accounts in a dict, idempotent by id; `refuse` says which batches fail."""

    def __init__(self, refuse: Callable[[Sequence[Answer]], bool] = lambda batch: False) -> None:
        self.refuse = refuse
        self.stored: dict[str, Answer] = {}
        self.batch_sizes: list[int] = []
        self.num_repeated = 0

    async def record(self, answers: Sequence[Answer]) -> None:
        await asyncio.sleep(0)
        if self.refuse(answers):
            raise LedgerError("the disk is full.")
        self.batch_sizes.append(len(answers))
        for answer in answers:
            self.num_repeated += answer.query_id in self.stored
            self.stored.setdefault(answer.query_id, answer)

    async def query(self, query_id: str) -> None:
        return None

    async def stats(self, since_s: float | None, until_s: float | None, group_by: tuple[str, ...]) -> dict[str, Any]:
        return {}


def opening(query_id: str, **more: Any) -> Opening:
    """What is written down before `query_id` is dispatched."""
    return Opening(query_id, 1000.0, "auto", gateway="gw", **more)


def crash(journal: Journal) -> None:
    """Leave the journal as a killed process does: nothing is settled, noted or removed, the lock is free."""
    journal._spare.thread.shutdown()
    journal._spare._maker.shutdown()
    for segment in journal._segments:
        segment.close()
    journal._folder.release()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for `condition`; on a machine that is busy with other things, up to twenty seconds."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - the condition is of the recorder, which has no event for it
            await asyncio.sleep(0.001)
