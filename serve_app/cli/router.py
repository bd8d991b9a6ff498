"""`headrace router`: train a domain classifier from labelled queries, and measure one."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

app = typer.Typer(help="Train and measure the router.", no_args_is_help=True)

_STAGES = {"encode": "Encoding the texts", "validate": "Validating on held-out rows", "fit": "Fitting on all rows"}

Encoder = Annotated[
    str | None, typer.Option(help="Catalogue name or folder of the encoder; default: router.encoder of the settings.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command()
def train(
    data: Annotated[
        list[Path],
        typer.Option(help='JSONL rows {"text", "label"}, optional "source" and "weight"; may be given several times.'),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the router; settings key router.artifact.")],
    floor: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Below this probability the label is `general`; unset: set on held-out rows."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of the validation folds.")] = 0,
    encoder: Encoder = None,
    as_json: Json = False,
) -> None:
    """Train on labelled queries and print how well held-out rows are told apart."""
    from serve_app.router.artifact import write
    from serve_app.training.router import train as fit

    loaded = _encoder(encoder)
    with _progress(not as_json) as report:
        trained = fit(data, loaded, seed=seed, floor=floor, on_progress=report)
    write(trained.artifact, out)
    labels, chosen = trained.artifact.classifier.labels, trained.artifact.floor
    if as_json:
        found = {"out": str(out), "labels": labels, "floor": chosen, "validation": trained.validation}
        typer.echo(json.dumps(found))
        return
    from rich.console import Console

    console = Console()
    for name, title in (("random_folds", "Random held-out rows"), ("source_folds", "Held-out sources")):
        if name in trained.validation:
            console.print(_table(title, trained.validation[name]))
    ece = trained.validation
    console.print(
        f"Calibration error {ece['ece_before']:.3f} before, {ece['ece_after']:.3f} after; floor {chosen:.2f}. "
        f"Written to {out}."
    )


@app.command()
def evaluate(
    data: Annotated[Path, typer.Option(help='JSONL rows {"text", "label"}, optional "source".')],
    router: Annotated[
        Path | None, typer.Option(help="Folder of a trained router; default: router.artifact of the settings.")
    ] = None,
    floor: Annotated[float | None, typer.Option(min=0, max=1, help="In place of the router's own.")] = None,
    encoder: Encoder = None,
    as_json: Json = False,
) -> None:
    """Accuracy, calibration and latency on labelled queries."""
    from serve_app.router import DomainRouter, read_rows
    from serve_app.router import evaluate as measure
    from serve_app.router.domain import FALLBACK_LABEL

    loaded = DomainRouter.load(_artifact(router), _encoder(encoder), floor)
    rows = read_rows(data, {*loaded.labels, FALLBACK_LABEL})
    with _progress(not as_json) as report:
        done = iter(range(1, len(rows) + 1))
        figures = measure(loaded, rows, lambda: report("Routing", next(done), len(rows)))
    if as_json:
        typer.echo(json.dumps(figures))
        return
    from rich.console import Console

    console = Console()
    console.print(_table(f"{data}", figures))
    console.print(
        f"Calibration error {figures['ece']:.3f}; one text takes {figures['p50_ms']:.1f} ms at the median, "
        f"{figures['p99_ms']:.1f} ms at the 99th percentile."
    )


def _encoder(name: str | None) -> Any:
    from serve_app.catalogue import resolve
    from serve_app.config import load
    from serve_app.encoder import Encoder as SentenceEncoder

    return SentenceEncoder(resolve(name or load().router.encoder).path)


def _artifact(path: Path | None) -> Path:
    from serve_app.config import load
    from serve_app.router import shipped

    if path is not None:
        return path
    configured = load().router.artifact
    return shipped() if configured == "shipped" else Path(configured)


@contextmanager
def _progress(visible: bool) -> Iterator[Callable[[str, int, int], object]]:
    """A bar per stage on standard error, so that standard output holds the result alone."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not visible) as bars:
        tasks: dict[str, Any] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(_STAGES.get(stage, stage), total=total)
            bars.update(tasks[stage], completed=done)

        yield report


def _table(title: str, figures: dict[str, Any]) -> "Table":
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
