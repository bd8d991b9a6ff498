"""`headrace router`: train classifiers of queries from labelled rows, compare and measure them, add a label."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serve_app.cli.options import Encoder, Json
from serve_app.cli.router_tables import added_label, progress

if TYPE_CHECKING:
    from serve_app.encoder import Encoder as SentenceEncoder

app = typer.Typer(help="Train and measure the router.", no_args_is_help=True)

Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of the validation folds and of the small network.")]
TrainingRows = Annotated[
    list[Path],
    typer.Option(help='JSONL rows {"text", "label"}, optional "source" and "weight"; may be given several times.'),
]
_CLASSIFIERS = "tfidf, linear, network, neighbours, kernel, few-shot or mixture"


@app.command()
def train(
    data: TrainingRows,
    out: Annotated[Path, typer.Option(help="Folder for the router; settings key router.artifact.")],
    classifier: Annotated[
        str,
        typer.Option(help=f"{_CLASSIFIERS}; auto: few-shot up to 20 rows a label, linear above 20,000 rows in all."),
    ] = "auto",
    floor: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Below this probability the label is `general`; unset: set on held-out rows."),
    ] = None,
    false_rejection: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="In place of --floor: the share of known queries that may become `general`."),
    ] = None,
    seed: Seed = 0,
    encoder: Encoder = None,
    as_json: Json = False,
) -> None:
    """Train on labelled queries and print how well held-out rows are told apart."""
    from serve_app.router.artifact import write
    from serve_app.training.router import Abstention
    from serve_app.training.router import train as fit

    if floor is not None and false_rejection is not None:
        raise typer.BadParameter("give --floor or --false-rejection, not both.")
    loaded = encoder_of(encoder)
    with progress(not as_json) as report:
        trained = fit(data, loaded, classifier, seed, Abstention(floor, false_rejection), report)
    write(trained.artifact, out)
    labels, chosen, found = trained.artifact.classifier.labels, trained.artifact.floor, trained.validation
    if as_json:
        kind = trained.artifact.card["classifier"]
        typer.echo(
            json.dumps({"out": str(out), "classifier": kind, "labels": labels, "floor": chosen, "validation": found})
        )
        return
    from rich.console import Console

    from serve_app.cli.router_tables import per_label

    console = Console()
    for name, title in (("random_folds", "Random held-out rows"), ("source_folds", "Held-out sources")):
        if name in found:
            console.print(per_label(title, found[name]))
    console.print(
        f"Classifier {trained.artifact.card['classifier']}. Calibration error {found['ece_before']:.3f} before, "
        f"{found['ece_after']:.3f} after; floor {chosen:.4g}, which turns away {found['false_rejection']:.1%} of the "
        f"known. Written to {out}."
    )


@app.command()
def compare(
    data: TrainingRows,
    test: Annotated[Path, typer.Option(help="JSONL rows like the training rows; unknown labels count as --fallback.")],
    classifier: Annotated[
        list[str] | None, typer.Option(help=f"{_CLASSIFIERS}; may be given several times; unset: all.")
    ] = None,
    false_rejection: Annotated[
        float, typer.Option(min=0, max=1, help="Each floor is set for this share of known queries turned away.")
    ] = 0.05,
    fallback: Annotated[str, typer.Option(help="The label of rows that belong to no other.")] = "general",
    seed: Seed = 0,
    encoder: Encoder = None,
    as_json: Json = False,
) -> None:
    """Train several classifiers on the same rows and show accuracy, abstention, latency and size in one table."""
    from serve_app.router import read_rows
    from serve_app.training.router import CLASSIFIERS
    from serve_app.training.router import compare as run

    loaded = encoder_of(encoder)
    train_rows, test_rows = [row for path in data for row in read_rows(path)], read_rows(test)
    with progress(not as_json) as report:
        names = classifier or list(CLASSIFIERS)
        found = run(train_rows, test_rows, loaded, names, false_rejection, fallback, seed, report)
    if as_json:
        typer.echo(json.dumps({"test": str(test), "classifiers": [one.as_dict() for one in found]}))
        return
    from rich.console import Console

    from serve_app.cli.router_tables import compared

    Console().print(compared(str(test), false_rejection, found))


@app.command("add-label")
def add_label(
    label: Annotated[str, typer.Option(help="The new label.")],
    data: Annotated[Path, typer.Option(help='JSONL rows {"text", "label"} of that label; ten or more.')],
    out: Annotated[Path, typer.Option(help="Folder for the longer router.")],
    router: Annotated[
        Path | None, typer.Option(help="Folder of a trained router; default: router.artifact of the settings.")
    ] = None,
    encoder: Encoder = None,
    as_json: Json = False,
) -> None:
    """Add a label without training from the start, and show whose queries it takes."""
    import time

    from serve_app.router import read_rows
    from serve_app.router.artifact import read, write
    from serve_app.training.router import add_label as extend

    started_s = time.perf_counter()
    rows = read_rows(data, {label})
    old, loaded = read(router_folder(router)), encoder_of(encoder)
    with progress(not as_json) as report:
        found = extend(old, label, rows, loaded, report)
    write(found.artifact, out)
    took_s = time.perf_counter() - started_s
    if as_json:
        told = {"out": str(out), "label": label, "rows": len(rows), "seconds": took_s, **added_label(found)}
        typer.echo(json.dumps(told))
        return
    from rich.console import Console

    from serve_app.cli.router_tables import confusions

    console = Console()
    console.print(confusions(found))
    low, high = found.new_right_95
    console.print(
        f"{found.after[label].get(label, 0)} of {len(rows)} new rows are told by the others ({low:.0%} to {high:.0%}); "
        f"{found.num_released} examples of `general` lay among them and were released. "
        f"Written to {out} in {took_s:.1f} s."
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

    loaded = DomainRouter.load(router_folder(router), encoder_of(encoder), floor)
    rows = read_rows(data, {*loaded.labels, FALLBACK_LABEL})
    with progress(not as_json) as report:
        done = iter(range(1, len(rows) + 1))
        figures = measure(loaded, rows, lambda: report("route", next(done), len(rows)))
    if as_json:
        typer.echo(json.dumps(figures))
        return
    from rich.console import Console

    from serve_app.cli.router_tables import per_label

    console = Console()
    console.print(per_label(f"{data}", figures))
    console.print(
        f"Calibration error {figures['ece']:.3f}; one text takes {figures['p50_ms']:.1f} ms at the median, "
        f"{figures['p99_ms']:.1f} ms at the 99th percentile."
    )


def encoder_of(name: str | None) -> "SentenceEncoder":
    """The sentence encoder of this name, or of the settings. Raises CatalogueError."""
    from serve_app.catalogue import resolve
    from serve_app.config import load
    from serve_app.encoder import Encoder as SentenceEncoder

    return SentenceEncoder(resolve(name or load().router.encoder).path)


def router_folder(path: Path | None) -> Path:
    """The folder of a trained router: this one, or that of the settings."""
    from serve_app.config import load
    from serve_app.router import shipped

    if path is not None:
        return path
    configured = load().router.artifact
    return shipped() if configured == "shipped" else Path(configured)
