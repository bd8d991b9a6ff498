"""How wide to print, and a bar for work that takes its time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

WIDE_CHARS = 120
"""Width of what goes to a file or pipe."""


def console() -> Console:
    """A terminal as it is, all else wide."""
    from rich.console import Console

    found = Console()
    return found if found.is_terminal or "COLUMNS" in os.environ else Console(width=WIDE_CHARS)


@contextmanager
def bar(title: str, total: int, visible: bool) -> Iterator[Callable[[int], object]]:
    """A progress bar on standard error; yields what advances it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not visible) as bars:
        task = bars.add_task(title, total=total)
        yield lambda num_rows: bars.advance(task, num_rows)
