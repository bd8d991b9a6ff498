"""What `headrace router` shows: bars while it works, tables when it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from serve_app.training.router import Compared, Extended

_STAGES = {
    "encode": "Encoding the texts",
    "validate": "Validating on held-out rows",
    "fit": "Fitting on all rows",
    "compare": "Training the classifiers",
    "route": "Routing",
}


@contextmanager
def progress(visible: bool) -> Iterator[Callable[[str, int, int], object]]:
    """A bar per stage on standard error, so that standard output holds the result alone."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not visible) as bars:
        tasks: dict[str, Any] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(_STAGES[stage], total=total)
            bars.update(tasks[stage], completed=done)

        yield report


def per_label(title: str, figures: dict[str, Any]) -> Table:
    """Per-label figures with the accuracy and its 95 % interval above."""
    from rich.table import Table

    low, high = figures["accuracy_95"]
    table = Table(title=f"{title}: {figures['accuracy']:.1%} right ({low:.1%} to {high:.1%})", show_edge=False)
    table.add_column("label")
    for name in ("precision", "recall", "f1", "rows"):
        table.add_column(name, justify="right")
    for label, found in figures["per_label"].items():
        cells = [f"{found[name]:.3f}" for name in ("precision", "recall", "f1")]
        table.add_row(label, *cells, f"{found['support']}")
    if "macro_source" in figures:
        table.caption = f"mean over sources {figures['macro_source']:.1%}"
    return table


def compared(title: str, false_rejection: float, found: Sequence[Compared]) -> Table:
    """One line a classifier."""
    from rich import box
    from rich.table import Table

    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("classifier", no_wrap=True)
    columns = ("right %", "in scope %", "out-of-scope recall %", "turned away %", "p50 ms", "p99 ms", "MB", "train s")
    for name in columns:
        table.add_column(name, justify="right", overflow="fold")
    for one in found:
        shares = (one.accuracy, one.in_scope, one.out_of_scope_recall, one.false_rejection)
        cells = ["" if share is None else f"{100 * share.value:.1f}±{100 * share.half_width:.1f}" for share in shares]
        rest = (f"{one.p50_ms:.1f}", f"{one.p99_ms:.1f}", f"{one.num_bytes / 1e6:.2f}", f"{one.training_s:.0f}")
        table.add_row(one.classifier, *cells, *rest)
    table.caption = (
        f"± is half of the 95 % interval. Each floor was set on held-out training rows so that {false_rejection:.0%} "
        "of known queries are turned away. In scope: known queries, no floor. Latency: one text, encoder included."
    )
    return table


def confusions(found: Extended) -> Table:
    """What each label's examples are called, before and after the new label."""
    from rich.table import Table

    labels = found.artifact.classifier.labels
    table = Table(title="Examples judged by the others: before → after", show_edge=False)
    table.add_column("label")
    for label in labels:
        table.add_column(f"called {label}", justify="right")
    for label in labels:
        old, new = found.before.get(label, {}), found.after[label]
        table.add_row(label, *(_change(old.get(guess, 0), new.get(guess, 0)) for guess in labels))
    return table


def added_label(found: Extended) -> dict[str, Any]:
    """What `confusions` shows, for JSON."""
    return {
        "before": found.before,
        "after": found.after,
        "new_right_95": found.new_right_95,
        "released": found.num_released,
    }


def _change(before: int, after: int) -> str:
    return f"{after}" if before == after else f"{before} → {after}"
