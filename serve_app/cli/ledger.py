"""`headrace ledger`: what the queries cost, read from the database itself, with no server needed."""

import asyncio
import json
import os
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

app = typer.Typer(help="What the queries cost, and what the large model alone would have cost.", no_args_is_help=True)

_COLUMNS = {
    "queries": "queries",
    "attempts": "attempts",
    "prompt_tokens": "prompt\ntokens",
    "completion_tokens": "new\ntokens",
    "cost_usd": "cost $",
    "always_large_usd": "always\nlarge $",
    "saved_usd": "saved $",
    "saved_share": "saved",
    "escalation_rate": "escalated",
    "busy_s": "busy s",
}
_NARROW = ("queries", "cost_usd", "always_large_usd", "saved_share", "escalation_rate")
_WIDE_CHARS = 120
"""From this width on the table has all columns; a file or pipe has it."""


@app.callback()
def _group() -> None:
    """Keeps `report` a subcommand while it is the only one."""


@app.command()
def report(
    since: Annotated[str | None, typer.Option(help="Start: 2026-03-01, 2026-03-01T09:30 (UTC), 24h or 7d.")] = None,
    until: Annotated[str | None, typer.Option(help="End, exclusive; written like --since.")] = None,
    group_by: Annotated[
        list[str] | None, typer.Option(help="route, adapter, model, key or outcome; several, comma-separated, combine.")
    ] = None,
    ledger: Annotated[
        str | None, typer.Option(help="File or database URL; default: ledger.url of the settings.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Totals over a time range, and by group: cost, always-large cost, savings, escalations, measured busy time."""
    from serve_app.config import load
    from serve_app.core import RequestError
    from serve_app.ledger import parse_time

    now_s = time.time()
    keys = tuple(key.strip() for keys in group_by or [] for key in keys.split(",") if key.strip())
    try:
        since_s = None if since is None else parse_time(since, now_s, "--since")
        until_s = None if until is None else parse_time(until, now_s, "--until")
        url = load().ledger.url if ledger is None else ledger
        stats = asyncio.run(_read(url, since_s, until_s, keys))
    except RequestError as error:
        raise typer.BadParameter(str(error)) from error
    if as_json:
        typer.echo(json.dumps(stats))
        return
    from rich.console import Console

    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(width=_WIDE_CHARS)
    columns = _NARROW if console.width < _WIDE_CHARS else tuple(_COLUMNS)
    console.print(_table(stats, keys, columns))
    console.print(_basis(stats), style="dim")


async def _read(url: str, since_s: float | None, until_s: float | None, keys: tuple[str, ...]) -> dict[str, Any]:
    from serve_app.ledger import SqlLedger

    ledger = SqlLedger(url, read_only=True)
    try:
        await ledger.open()
        return await ledger.stats(since_s, until_s, keys)
    finally:
        await ledger.close()


def _table(stats: dict[str, Any], keys: tuple[str, ...], columns: tuple[str, ...]) -> "Table":
    """Groups, then the total. Figures are never cut; where it is tight, names wrap."""
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table(box=SIMPLE, show_edge=False, pad_edge=False)
    for key in keys or ("",):
        table.add_column(key, overflow="fold")
    for column in columns:
        table.add_column(_COLUMNS[column], justify="right", no_wrap=True)
    for group in stats["groups"]:
        names = ("–" if group[key] is None else str(group[key]) for key in keys)
        table.add_row(*names, *(_cell(column, group[column]) for column in columns))
    table.add_section()
    totals = (_cell(column, stats["totals"][column]) for column in columns)
    table.add_row("total", *[""] * (len(keys) - 1), *totals, style="bold")
    return table


def _cell(column: str, value: float | None) -> str:
    """One figure as text: money to the nano-dollar's sixth decimal, shares in percent.

    >>> _cell("cost_usd", 1.5e-05), _cell("saved_share", 0.612), _cell("queries", 12000), _cell("saved_share", None)
    ('0.000015', '61.2 %', '12,000', '–')
    """
    if value is None:
        return "–"
    if column.endswith("_usd"):
        return f"{value:,.6f}"
    if column.endswith(("_share", "_rate")):
        return f"{value:.1%}".replace("%", " %")
    return f"{value:,.1f}" if column == "busy_s" else f"{value:,}"


def _basis(stats: dict[str, Any]) -> str:
    versions = ", ".join("not priced" if version is None else version for version in stats["price_versions"]) or "none"
    basis = stats["always_large_basis"]
    return (
        f"Price versions: {versions}. Always large: measured for {basis['measured']:,} queries, "
        f"estimated from the tokens of the answer given for {basis['estimated']:,}."
    )
