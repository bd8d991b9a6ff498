"""`headrace ledger bill`: what the replicas cost, who used them, and what the large model alone would cost."""

import asyncio
import json
import time
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serve_app.cli.options import Json, Ledger, Until
from serve_app.cli.period import opened, period
from serve_app.cli.terminal import console

if TYPE_CHECKING:
    from rich.table import Table

    from serve_app.config.prices import Deployment
    from serve_app.ledger.bill import Facts


def bill(
    since: Annotated[str, typer.Option(help="Start: 2026-03-01, 2026-03-01T09:30 (UTC), 24h or 7d.")] = "24h",
    until: Until = None,
    group_by: Annotated[
        str | None, typer.Option(help="Share it over the queries by route, adapter, model, key or tier.")
    ] = None,
    utilisation: Annotated[
        float, typer.Option(min=0.01, max=1, help="Busy share of the replicas that the large model alone would need.")
    ] = 0.6,
    ledger: Ledger = None,
    as_json: Json = False,
) -> None:
    """Replica hours, what the queries used of them, and the replicas of the large model alone.

    Of whole hours in which a running server counted its replicas.
    """
    from serve_app.config import load
    from serve_app.core import RequestError
    from serve_app.ledger.bill import make_bill
    from serve_app.ledger.pricebook import PriceBook

    since_s, until_s = period(since, until)
    now_s = time.time()
    settings = load()
    url = ledger or settings.ledger.url
    try:
        facts = asyncio.run(_facts(url, since_s or 0.0, now_s if until_s is None else until_s, group_by))
    except RequestError as error:
        raise typer.BadParameter(str(error)) from error
    models: dict[Deployment, str] = {"specialists": settings.specialists.model, "fallback": settings.fallback.model}
    book = PriceBook(settings.prices, settings.fallback.model)
    made = make_bill(book, models, facts, Fraction(str(utilisation))).public()
    if as_json:
        typer.echo(json.dumps(made))
    else:
        _show(made, group_by)


async def _facts(url: str, since_s: float, until_s: float, group_by: str | None) -> "Facts":
    from serve_app.ledger.bill import read_facts

    async with opened(url) as store:
        return await read_facts(store, since_s, until_s, group_by)


def _show(made: dict[str, Any], group_by: str | None) -> None:
    out = console()
    out.print(_deployments(made))
    if group_by is not None:
        out.print()
        out.print(_groups(made["groups"], group_by))
    for line in _remarks(made):
        out.print(line, style="dim")


def _deployments(made: dict[str, Any]) -> "Table":
    titles = ("replica h", "busy", "provisioned $", "attributed $", "idle $", "by accounts $")
    table = _table("deployment", titles)
    for line in made["deployments"]:
        table.add_row(
            line["deployment"],
            f"{line['replica_hours']:,.2f}",
            "–" if line["utilisation"] is None else f"{line['utilisation']:.1%}".replace("%", " %"),
            *(_usd(line[name]) for name in ("provisioned_usd", "attributed_usd", "idle_usd", "by_accounts_usd")),
        )
    table.add_section()
    totals = (made["total_usd"], made["attributed_usd"], made["idle_usd"])
    table.add_row("total", "", "", *(_usd(value) for value in totals), "", style="bold")
    return table


def _groups(groups: list[dict[str, Any]], group_by: str) -> "Table":
    table = _table(group_by, ("attributed $", "idle $", "always large $"))
    for group in groups:
        figures = (_usd(group[name]) for name in ("attributed_usd", "idle_usd", "always_large_usd"))
        table.add_row("–" if group["name"] is None else group["name"], *figures)
    return table


def _table(first: str, others: tuple[str, ...]) -> "Table":
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table(box=SIMPLE, show_edge=False, pad_edge=False)
    table.add_column(first, overflow="fold")
    for title in others:
        table.add_column(title, justify="right", no_wrap=True)
    return table


def _remarks(made: dict[str, Any]) -> list[str]:
    """How always-large was counted, and what the bill leaves out."""
    large = made["always_large"]
    how = "by the accounts' tokens"
    if large["basis"] == "replicas":
        how = f"{large['replica_hours']:,.2f} replica hours, at most {large['most_replicas']:,} replicas at once, "
        how += f"busy for {large['utilisation']:.0%} of their time".replace("%", " %")
    share = "" if made["saved_share"] is None else f" ({made['saved_share']:.1%})".replace("%", " %")
    hours = (made["until"] - made["since"]) / 3600
    lines = [
        f"Always large: {_usd(large['usd'])} $, {how}; saved {_usd(made['saved_usd'])} ${share}.",
        f"Replicas were counted in {made['sampled_hours']:,.2f} of {hours:,.0f} hours.",
    ]
    if made["pruned_days"]:
        lines.append(f"The accounts of {made['pruned_days']:,} days are deleted: what they used looks idle.")
    unpriced = [line["deployment"] for line in made["deployments"] if line["basis"] == "none"]
    if unpriced:
        lines.append(f"Without a price, so free here: {', '.join(unpriced)} (prices.replica_usd_per_hour).")
    return lines


def _usd(value: float) -> str:
    return f"{value:,.6f}"
