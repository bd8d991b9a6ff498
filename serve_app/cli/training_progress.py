"""Bars for a training run, on standard error; a plain line now and then where that is no terminal."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from serve_app.core import ConfigError

if TYPE_CHECKING:
    from serve_app.training.lora import StepReport

_LINE_EVERY_S = 30.0


def use_torch(threads: int | None, device: str) -> None:
    """Load torch with the thread count, and keep the model libraries' own bars and notices off the terminal.

    Threads that spin while they wait made training many times slower beside other processes (docs/experiments.md), so
    OpenMP is told to sleep; it reads the variable when torch is loaded, hence here.
    Raises ConfigError for a device that this machine's torch does not have.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import torch
    from transformers.utils import logging

    if device.partition(":")[0] not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"The device {device!r} is unknown; write auto, cpu, cuda or cuda:N.")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"The device is {device}, and torch finds no GPU here; use --device cpu.")
    if threads is not None:
        torch.set_num_threads(threads)
    logging.set_verbosity_error()
    logging.disable_progress_bar()


class TrainingProgress:
    """Follows one run (`training.run.Watch`)."""

    def __init__(self, visible: bool) -> None:
        self._terminal = sys.stderr.isatty()
        self._visible = visible
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
        )
        self._bars = Progress(*columns, console=Console(stderr=True), disable=not (visible and self._terminal))
        self._training: TaskID | None = None
        self._last_line_s = time.monotonic()

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def stage(self, title: str, total: int) -> Callable[[int], None]:
        """A bar for a stage of scoring."""
        task = self._bars.add_task(title, total=total, note="")
        done = 0

        def advance(num_rows: int) -> None:
            nonlocal done
            done += num_rows
            self._bars.advance(task, num_rows)
            self._line(f"{title}: {done} of {total}")

        return advance

    def step(self, report: StepReport) -> None:
        """The training bar: loss and tokens a second, and the time left by tokens."""
        if self._training is None:
            self._training = self._bars.add_task("Training", total=report.total_tokens, note="")
        note = f"loss {report.loss:.3f}, {report.num_tokens / max(report.busy_s, 1e-9):.0f} tokens/s"
        if report.validation_loss is not None:
            note += f", validation {report.validation_loss:.3f}"
        self._bars.update(self._training, completed=report.num_tokens, note=note)
        self._line(f"Training: step {report.step} of {report.num_steps}, {note}")

    def _line(self, text: str) -> None:
        now_s = time.monotonic()
        if self._visible and not self._terminal and now_s - self._last_line_s >= _LINE_EVERY_S:
            self._last_line_s = now_s
            print(text, file=sys.stderr, flush=True)
