"""`headrace router gain-train`: the pre-router, from queries that both models have answered."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serve_app.cli.options import Encoder, Json, check_output
from serve_app.cli.router import encoder_of
from serve_app.cli.router_tables import progress
from serve_app.core import DataError
from serve_app.core.files import write_whole

if TYPE_CHECKING:
    from serve_app.training.gain import GainRow


def gain_train(
    data: Annotated[
        Path,
        typer.Option(
            help='JSONL rows {"text", "small_right", "large_right"}, optional "id" and "group"; with --texts, the '
            "labelled attempts of `cascade fit`. Plain or .gz."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the pre-router; settings key router.gain.")],
    texts: Annotated[
        Path | None, typer.Option(help='JSONL rows {"id", "text"} for the labelled attempts in --data.')
    ] = None,
    held_out: Annotated[
        Path | None,
        typer.Option(
            help='Also write rows {"id", "gain"}: what a pre-router that had not seen the row says of it, for the '
            "labelled attempts' field of this name."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of the held-out folds and the random waves.")] = 0,
    encoder: Encoder = None,
    as_json: Json = False,
) -> None:
    """Train P(large right and small wrong | query), and print how well held-out rows are ranked."""
    from serve_app.confidence.gain import write
    from serve_app.training.cascade import read_attempts
    from serve_app.training.gain import encoded, fit_gain, join_texts, read_gain_rows, read_texts

    if held_out is not None:
        check_output(held_out, "--held-out", data, *([texts] if texts else []))
    rows = read_gain_rows(data) if texts is None else join_texts(read_attempts(data), read_texts(texts))
    if held_out is not None and any(row.id is None for row in rows):
        raise DataError('--held-out names rows by "id": give every row of --data one.')
    loaded = encoder_of(encoder)
    with progress(not as_json) as report:
        trained = fit_gain(rows, encoded(rows, loaded, report), loaded.digest, seed, report)
    write(trained.model, out)
    if held_out is not None:
        _write_held_out(rows, trained.held_out.tolist(), held_out)
    card = trained.model.card
    found = card["held_out"]
    if as_json:
        typer.echo(json.dumps({"out": str(out), "rows": card["rows"], "helped": card["helped"], **found}))
        return
    apgr = "not defined, the large model is no better" if found["apgr"] is None else f"{found['apgr']:.3f}"
    typer.echo(
        f"The large model helps in {card['helped']:.1%} of {card['rows']} rows. Held-out rows: AUROC "
        f"{found['auroc']:.3f} and APGR {apgr} (chance is .5 in both), calibration error {found['ece']:.3f}. "
        f"Written to {out}."
    )


def _write_held_out(rows: "Sequence[GainRow]", gains: Sequence[float], path: Path) -> None:
    """One row for each id. Raises OSError."""
    lines = [json.dumps({"id": row.id, "gain": gain}) + "\n" for row, gain in zip(rows, gains, strict=True)]
    write_whole(path, "".join(lines))
