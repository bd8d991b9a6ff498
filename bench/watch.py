"""A training run's watch, for benches that train: a line now and then, where a command has bars."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serve_app.training.lora import StepReport


class Lines:
    """Every tenth step goes to `say`; scoring says nothing."""

    def __init__(self, say: Callable[[str], object] | None = None) -> None:
        """None: to standard output, at once."""
        self._say = say or partial(print, flush=True)

    def stage(self, title: str, total: int) -> Callable[[int], None]:
        """A stage of scoring."""
        return lambda num_rows: None

    def step(self, report: StepReport) -> None:
        """One step of training."""
        if report.step % 10 == 0 or report.step == report.num_steps:
            speed = report.num_tokens / report.busy_s
            self._say(f"  step {report.step} of {report.num_steps}: loss {report.loss:.3f}, {speed:.0f} tokens/s")
