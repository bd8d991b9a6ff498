"""`headrace label`: from answers and references to the labels that `headrace cascade fit` learns from."""

import asyncio
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from serve_app.cli.options import Json, check_output, parse_pairs
from serve_app.cli.terminal import bar
from serve_app.core.files import write_whole

if TYPE_CHECKING:
    from serve_app.labelling.label import Labels
    from serve_app.labelling.lines import Line
    from serve_app.labelling.log import LogRow

OPTION_EXAMPLE = "tolerance=.01"
Option = Annotated[
    list[str] | None,
    typer.Option("--option", help=f"An option of the scorer, as {OPTION_EXAMPLE}; may be given several times."),
]
Concurrency = Annotated[int, typer.Option(min=1, max=256, help="How many at once.")]


def label(
    log: Annotated[Path, typer.Option(help="JSONL with id, small_answer, large_answer and what the scorer needs.")],
    scorer: Annotated[
        str,
        typer.Option(help="exact, normalised, contains, numeric, choice, verdict, shell_template, code, agreement …"),
    ],
    out: Annotated[Path, typer.Option(help="File for the rows with small_right and large_right.")],
    option: Option = None,
    untold: Annotated[
        Literal["drop", "wrong"],
        typer.Option(
            help="Rows whose small answer the scorer cannot judge; drop: a guarantee leaves such answers out."
        ),
    ] = "wrong",
    drop_text: Annotated[
        bool, typer.Option("--drop-text", help="Write no question, answer or reference: what `cascade fit` reads.")
    ] = False,
    concurrency: Concurrency = 4,
    as_json: Json = False,
) -> None:
    """Say of every answer in a log whether it is right. A run that was broken off goes on where it stopped."""
    from serve_app.labelling.label import Progress, label_rows
    from serve_app.labelling.log import read_log
    from serve_app.labelling.scorers import scorer as scorer_named

    check_output(out, "--out", log)
    options = parse_pairs(option or [], "--option", OPTION_EXAMPLE)
    judge = scorer_named(scorer, **options)
    rows = read_log(log)
    digest = hashlib.sha256(log.read_bytes()).hexdigest()
    part = out.with_name(out.name + ".part")
    progress = Progress(part, {"log_sha256": digest, "scorer": scorer, "options": options})
    with bar("Scoring", len(rows), not as_json) as advance:
        labels = asyncio.run(label_rows(rows, log, judge, progress, concurrency, advance))
    written = list(_labelled(rows, log, labels, untold, drop_text))
    write_whole(out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in written), private=not drop_text)
    part.unlink()
    figures = _figures(labels, written, scorer, out)
    if scorer == "code":
        figures["sandbox"] = _sandbox()
    typer.echo(json.dumps(figures) if as_json else _sentence(figures))


def _labelled(
    rows: "list[tuple[Line, LogRow]]", log: Path, labels: "Labels", untold: str, drop_text: bool
) -> Iterator[dict[str, Any]]:
    from serve_app.labelling.lines import parse_object
    from serve_app.labelling.log import TEXT_FIELDS

    for line, row in rows:
        small = labels[row.id].small_right
        if small is None and untold == "drop":
            continue
        kept = parse_object(line, log)
        if drop_text:
            kept = {name: value for name, value in kept.items() if name not in TEXT_FIELDS}
        yield {**kept, "small_right": small or 0.0, "large_right": labels[row.id].large_right}


def _figures(labels: "Labels", written: list[dict[str, Any]], scorer: str, out: Path) -> dict[str, Any]:
    large = [row["large_right"] for row in written if row["large_right"] is not None]
    return {
        "out": str(out),
        "scorer": scorer,
        "rows": len(labels),
        "written": len(written),
        "untold": sum(one.small_right is None for one in labels.values()),
        "small_right": sum(row["small_right"] for row in written) / len(written) if written else None,
        "large_right": sum(large) / len(large) if large else None,
        "large_rows": len(large),
    }


def _sandbox() -> list[str]:
    """What kept the programs in on this machine."""
    from serve_app.labelling.sandbox.run import run_tests

    namespaces = run_tests("", ["pass"], without_namespaces=True).namespaces
    return [*(f"{name} namespace" for name in namespaces), "audit hook", "resource limits"]


def _sentence(figures: dict[str, Any]) -> str:
    parts = [f"{figures['written']:,} of {figures['rows']:,} rows written to {figures['out']}"]
    if figures["small_right"] is not None:
        parts.append(f"small answers score {figures['small_right']:.1%}")
    if figures["large_right"] is not None:
        parts.append(f"large answers {figures['large_right']:.1%} over {figures['large_rows']:,} rows")
    if figures["untold"]:
        fate = "are left out" if figures["written"] < figures["rows"] else "count as wrong"
        parts.append(f"{figures['untold']:,} small answers could not be judged and {fate}")
    if "sandbox" in figures:
        parts.append(f"programs were kept in by {', '.join(figures['sandbox'])}")
    return "; ".join(parts) + "."
