"""Draws a pull on stderr: one bar a step, and the bytes that came over the network."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text


class Bytes(DownloadColumn):
    """Bytes done of all; nothing for a step that cannot be measured."""

    def render(self, task: Task) -> Text:
        return super().render(task) if task.fields["measured"] else Text()


class PullProgress:
    """A `catalogue.Progress`; a context manager, so that the terminal is whole again after Ctrl-C."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), Bytes(), TimeElapsedColumn())
        self._bars = Progress(*columns, console=Console(stderr=True))
        self._task: TaskID | None = None
        self.downloaded_bytes = 0
        """Sum over all pulls that this object has drawn."""

    def __enter__(self) -> PullProgress:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._finish()
        self._bars.stop()

    def step(self, description: str, total_bytes: int | None = None) -> None:
        self._finish()
        self._task = self._bars.add_task(description, total=total_bytes, measured=total_bytes is not None)

    def at(self, done_bytes: int) -> None:
        if self._task is not None:
            self._bars.update(self._task, completed=done_bytes)

    def note(self, message: str) -> None:
        self._bars.console.print(message)

    def downloaded(self, num_bytes: int) -> None:
        self.downloaded_bytes += num_bytes

    def _finish(self) -> None:
        """Fill the bar of the step that is done; one that measured nothing becomes full as well."""
        if self._task is None:
            return
        total = self._bars.tasks[self._task].total
        self._bars.update(self._task, total=total or 1, completed=total or 1)
