"""Scores both answers of every row of a log; what was scored is kept, so that a run that was broken off goes on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from serve_app.core import DataError, HeadraceError, RequestError, single_errors
from serve_app.labelling.item import Scorer
from serve_app.labelling.lines import Line, parse_object
from serve_app.labelling.log import LogRow


@dataclass(frozen=True, slots=True)
class Label:
    """The scores of one row."""

    small_right: float | None
    """In [0, 1]; None: it cannot be told."""
    large_right: float | None
    """None also where the large model was not asked."""


Labels = dict[str, Label]
"""By id of the row."""


class Progress:
    """Labels so far, in a file of their own: a head that says what they are of, then a line for each row. No texts."""

    def __init__(self, path: Path, head: dict[str, Any]) -> None:
        self.path, self._head = path, head

    def read(self) -> Labels:
        """What an earlier run left. Raises DataError where that was of another log or scorer."""
        try:
            lines = self.path.read_bytes().split(b"\n")[:-1]  # the last one is empty, or was cut off while written
        except FileNotFoundError:
            return {}
        head, *rows = [parse_object(Line(number, line), self.path) for number, line in enumerate(lines, start=1)] or [
            {}
        ]
        if head and head != self._head:
            raise DataError(f"{self.path} holds labels of another log, scorer or option; delete it to start afresh.")
        return {row["id"]: Label(row["small_right"], row["large_right"]) for row in rows}

    def begin(self, known: Labels) -> TextIO:
        """Open for `add`, with what is known already and without a line that was cut off."""
        whole = self.path.with_name(self.path.name + ".new")
        with whole.open("w", encoding="utf-8") as out:
            out.write(json.dumps(self._head) + "\n")
            for row_id, label in known.items():
                self.add(out, row_id, label)
        whole.replace(self.path)
        return self.path.open("a", encoding="utf-8")

    @staticmethod
    def add(out: TextIO, row_id: str, label: Label) -> None:
        """One more row."""
        row = {"id": row_id, "small_right": label.small_right, "large_right": label.large_right}
        out.write(json.dumps(row) + "\n")
        out.flush()


async def label_rows(
    rows: Sequence[tuple[Line, LogRow]],
    log: Path,
    scorer: Scorer,
    progress: Progress,
    concurrency: int,
    on_row: Callable[[int], object] = lambda num_rows: None,
) -> Labels:
    """Labels of all rows; `concurrency` rows at once, `on_row` told how many more are done.

    Raises DataError naming the line where an item lacks what the scorer needs, and what the scorer raises; what was
    scored until then is kept.
    """
    ids = {row.id for _, row in rows}
    labels = {row_id: label for row_id, label in progress.read().items() if row_id in ids}
    on_row(len(labels))
    free = asyncio.Semaphore(concurrency)
    with progress.begin(labels) as out:

        async def one(line: Line, row: LogRow) -> None:
            async with free:
                labels[row.id] = await _label(row, f"{log}:{line.number}", scorer)
            progress.add(out, row.id, labels[row.id])
            on_row(1)

        with single_errors():
            async with asyncio.TaskGroup() as tasks:
                for line, row in rows:
                    if row.id not in labels:
                        tasks.create_task(one(line, row))
    return labels


async def _label(row: LogRow, where: str, scorer: Scorer) -> Label:
    try:
        small = await _score(scorer, row, row.small_answer)
        if row.large_answer is None:
            return Label(small, None)
        large = 1.0 if compares_with_large(scorer) else await _score(scorer, row, row.large_answer)
        return Label(small, large)
    except (DataError, RequestError) as error:
        raise DataError(f"{where}: {error}") from error


async def _score(scorer: Scorer, row: LogRow, answer: str) -> float | None:
    score = await scorer.score(row.item(answer))
    if score is not None and not 0 <= score <= 1:
        raise HeadraceError(f"Scorer {scorer.name!r} gave {score!r}; a score is None or lies between 0 and 1.")
    return score


def compares_with_large(scorer: Scorer) -> bool:
    """Whether the large answer is what is right by definition."""
    return scorer.name == "agreement" or getattr(scorer, "compare", None) == "large"
