"""`headrace ledger reprice`: a period at other prices."""

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serve_app.cli.options import Json, Ledger, Since, Until
from serve_app.cli.period import opened, period
from serve_app.cli.terminal import console

if TYPE_CHECKING:
    from serve_app.ledger.pricebook import PriceBook
    from serve_app.ledger.reprice import Repricing


def reprice(
    prices: Annotated[Path, typer.Option(help="Settings file, or a file with `version` and `models` of its own.")],
    since: Since = None,
    until: Until = None,
    large: Annotated[
        str | None, typer.Option(help="Model that always-large would use; default: the fallback's of the settings.")
    ] = None,
    save: Annotated[
        bool, typer.Option("--save", help="Keep both figures of every query under an id, beside the accounts.")
    ] = False,
    ledger: Ledger = None,
    as_json: Json = False,
) -> None:
    """What a period would have cost at other prices. The accounts stay as they were billed."""
    from serve_app.config import load
    from serve_app.config.prices_file import load_prices
    from serve_app.ledger.pricebook import PriceBook

    since_s, until_s = period(since, until)
    settings = load()
    book = PriceBook(load_prices(prices), large or settings.fallback.model)
    found = asyncio.run(_reprice(ledger or settings.ledger.url, book, since_s, until_s, save))
    if as_json:
        typer.echo(json.dumps(found.public()))
    else:
        _show(found.public())


async def _reprice(
    url: str, book: "PriceBook", since_s: float | None, until_s: float | None, save: bool
) -> "Repricing":
    from serve_app.ledger.reprice import reprice as reprice_period

    async with opened(url, read_only=not save) as store:
        return await reprice_period(store, book, since_s, until_s, save=save)


def _show(found: dict[str, Any]) -> None:
    """By the model that answered, then the total."""
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table(box=SIMPLE, show_edge=False, pad_edge=False)
    table.add_column("model", overflow="fold")
    for title in ("accounts", "billed $", "other $", "change", "always large $", "saved $"):
        table.add_column(title, justify="right", no_wrap=True)
    for group in found["models"]:
        table.add_row("–" if group["model"] is None else group["model"], *_cells(group))
    table.add_section()
    table.add_row("total", *_cells(found["totals"]), style="bold")
    out = console()
    out.print(table)
    versions = ", ".join(f"{name} ({count:,})" for name, count in found["versions"].items()) or "none"
    out.print(f"Other prices: {versions}. Always large and saved: at the other prices.", style="dim")
    if found["from_cache"]:
        out.print(f"{found['from_cache']:,} answers of the response cache keep their figures.", style="dim")
    if found["repricing_id"]:
        out.print(f"Saved as {found['repricing_id']}.", style="dim")


def _cells(group: dict[str, Any]) -> list[str]:
    change = group["cost_change"]
    return [
        f"{group['accounts']:,}",
        f"{group['cost_usd']:,.6f}",
        f"{group['repriced_cost_usd']:,.6f}",
        "–" if change is None else f"{change:+.1%}".replace("%", " %"),
        f"{group['repriced_always_large_usd']:,.6f}",
        f"{group['repriced_saved_usd']:,.6f}",
    ]
