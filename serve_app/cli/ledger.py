"""`headrace ledger`: what the queries cost, read from the database itself, with no server needed."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from serve_app.cli.ledger_table import notes, table
from serve_app.cli.options import Json, Ledger, Since, Until
from serve_app.cli.period import opened, period
from serve_app.cli.terminal import console

if TYPE_CHECKING:
    from serve_app.ledger import SqlLedger

T = TypeVar("T")

app = typer.Typer(help="What the queries cost, and what the large model alone would have cost.", no_args_is_help=True)


@app.command()
def report(
    since: Since = None,
    until: Until = None,
    group_by: Annotated[
        list[str] | None,
        typer.Option(
            help="route, adapter, adapter_version, model, key, outcome, tier, cache or hour; several, comma-separated, "
            "combine."
        ),
    ] = None,
    key: Annotated[str | None, typer.Option(help="Only the queries of this API key, by its name.")] = None,
    ledger: Ledger = None,
    as_json: Json = False,
) -> None:
    """Totals over a time range, and by group: cost, savings and where they come from, escalations, latencies."""
    from serve_app.core import RequestError

    keys = tuple(each.strip() for keys in group_by or [] for each in keys.split(",") if each.strip())
    since_s, until_s = period(since, until)

    async def read(found: "SqlLedger") -> tuple[dict[str, Any], dict[str, Any]]:
        stats = await found.stats(since_s, until_s, keys, key)
        return stats, await found.always_large_check(since_s, until_s)

    try:
        stats, audits = _with_ledger(ledger, read)
    except RequestError as error:
        raise typer.BadParameter(str(error)) from error
    if as_json:
        typer.echo(json.dumps(stats | {"always_large_check": audits}))
        return
    out = console()
    out.print(table(stats, keys, out.width))
    for note in notes(stats, audits):
        out.print(note, style="dim")


@app.command()
def export(
    out: Annotated[Path, typer.Option(help="File to write; one that is there is replaced.")],
    form: Annotated[
        Literal["csv", "parquet"], typer.Option("--format", help="Parquet needs headrace[parquet].")
    ] = "csv",
    rows: Annotated[
        Literal["queries", "attempts"], typer.Option(help="One row for each query, or for each attempt.")
    ] = "queries",
    since: Since = None,
    until: Until = None,
    ledger: Ledger = None,
) -> None:
    """Write single accounts to a file, with money in integer nano-dollars: no rounding, no text of any query."""
    since_s, until_s = period(since, until)
    num_rows = _with_ledger(ledger, lambda found: found.export(out, form, rows, since_s, until_s))
    typer.echo(f"{num_rows:,} rows are in {out}.")


@app.command()
def prune(
    days: Annotated[
        int | None, typer.Option(min=1, help="Days to keep; default: ledger.retention_days of the settings.")
    ] = None,
    ledger: Ledger = None,
) -> None:
    """Delete the accounts of days that ended longer ago; hourly and daily totals stay, so reports go on."""
    from serve_app.config import load
    from serve_app.core import ConfigError

    kept_days = load().ledger.retention_days if days is None else days
    if kept_days is None:
        raise ConfigError("ledger.retention_days is not set, so nothing is deleted; set it, or give --days.")
    pruned = _with_ledger(ledger, lambda found: found.prune(kept_days), read_only=False)
    typer.echo(f"{pruned.num_queries:,} accounts of {pruned.num_days:,} days are deleted.")


def _with_ledger(url: str | None, work: Callable[["SqlLedger"], Awaitable[T]], *, read_only: bool = True) -> T:
    """Open the ledger, do the work, close it. Raises LedgerError and what the work raises."""
    from serve_app.config import load
    from serve_app.ledger import SqlLedger

    async def run() -> T:
        async with opened(load().ledger.url if url is None else url, read_only=read_only) as store:
            return await work(SqlLedger(store))

    return asyncio.run(run())
