"""`headrace keys`: make, list and revoke API keys, in the ledger's database itself; a running server follows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from serve_app.cli.options import Json, Ledger
from serve_app.cli.period import opened

if TYPE_CHECKING:
    from rich.table import Table

    from serve_app.config.budgets import Limit
    from serve_app.keys import KeyRecord, KeyStore

T = TypeVar("T")

app = typer.Typer(
    help="API keys: make, list, revoke. A running server follows within two seconds.", no_args_is_help=True
)

Usd = Annotated[str | None, typer.Option(metavar="USD", help="Most US dollars that the key may spend in one.")]
Tokens = Annotated[int | None, typer.Option(min=1, max=10**15, help="Most tokens that the key may use in one.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Name of the key; accounts carry it. Given once for all time.")],
    admin: Annotated[bool, typer.Option("--admin", help="May see the accounts of all keys, and administer.")] = False,
    models: Annotated[
        str | None, typer.Option(help="Models and adapters that it may ask for, comma-separated; default: all.")
    ] = None,
    usd_per_minute: Usd = None,
    usd_per_day: Usd = None,
    usd_per_month: Usd = None,
    tokens_per_minute: Tokens = None,
    tokens_per_day: Tokens = None,
    tokens_per_month: Tokens = None,
    semantic_cache: Annotated[
        bool, typer.Option("--semantic-cache", help="It takes answers given to similar questions.")
    ] = False,
    store_texts: Annotated[
        bool, typer.Option("--store-texts", help="Its texts are kept, where ledger.texts.store is on.")
    ] = False,
    priority: Annotated[bool, typer.Option("--priority", help="It may ask for the service tier `priority`.")] = False,
    ledger: Ledger = None,
    as_json: Json = False,
) -> None:
    """Make a key. It is printed once, and only its SHA-256 is stored."""
    from serve_app.core import RequestError
    from serve_app.keys import Key

    limits = (
        _limit("minute", usd_per_minute, tokens_per_minute),
        _limit("day", usd_per_day, tokens_per_day),
        _limit("month", usd_per_month, tokens_per_month),
    )
    key = Key(
        key_id=name,
        role="admin" if admin else "user",
        models=_names(models),
        limits=tuple(limit for limit in limits if limit is not None),
        semantic_cache=semantic_cache,
        store_texts=store_texts,
        priority=priority,
    )
    from serve_app.store import shown, store_url

    url = _url(ledger, new_name=name)
    try:
        secret = asyncio.run(_with_store(url, lambda store: store.create(key), create=True))
    except RequestError as error:
        raise typer.BadParameter(str(error)) from error
    if as_json:
        typer.echo(json.dumps({"name": name, "role": key.role, "key": secret}))
        return
    typer.echo(f"The key {name!r} of {shown(store_url(url))}, shown this once:", err=True)
    typer.echo(secret)


@app.command("list")
def list_keys(
    everything: Annotated[bool, typer.Option("--all", help="Revoked ones as well.")] = False,
    ledger: Ledger = None,
    as_json: Json = False,
) -> None:
    """The stored keys: names, rights and limits. Those of the settings are in the settings."""
    records = asyncio.run(_with_store(_url(ledger), lambda store: store.all(), read_only=True))
    records = tuple(record for record in records if everything or record.revoked_at_s is None)
    if as_json:
        typer.echo(json.dumps([_public(record) for record in records]))
        return
    from rich.console import Console

    if records:
        Console().print(_table(records))
    else:
        typer.echo("There are no stored keys; `headrace keys create NAME` makes one.")


@app.command()
def revoke(
    name: Annotated[str, typer.Argument(help="Name of the key.")], ledger: Ledger = None, as_json: Json = False
) -> None:
    """Refuse a key from now on. Its accounts stay, and its name is not given again."""
    from serve_app.core import RequestError

    try:
        url = _url(ledger)
        asyncio.run(_with_store(url, lambda store: store.revoke(name)))
    except RequestError as error:
        raise typer.BadParameter(str(error)) from error
    typer.echo(json.dumps({"name": name, "revoked": True}) if as_json else f"The key {name!r} is revoked.")


async def _with_store(
    url: str, work: Callable[[KeyStore], Awaitable[T]], *, read_only: bool = False, create: bool = False
) -> T:
    from serve_app.keys import KeyStore

    async with opened(url, read_only=read_only, create=create) as store:
        return await work(KeyStore(store))


def _url(ledger: str | None, new_name: str | None = None) -> str:
    """The database; where it is that of the settings, a new key's name may not be one of theirs."""
    from serve_app.config import load

    if ledger is not None:
        return ledger
    settings = load()
    if new_name in settings.gateway.api_keys or new_name in settings.gateway.admin_keys:
        raise typer.BadParameter(f"The settings have a key {new_name!r} under `gateway`; take another name.")
    return settings.ledger.url


def _limit(per: str, usd: str | None, tokens: int | None) -> Limit | None:
    from pydantic import ValidationError

    from serve_app.config.budgets import Limit

    if usd is None and tokens is None:
        return None
    try:
        return Limit.model_validate({"per": per, "usd": None if usd is None else Decimal(usd), "tokens": tokens})
    except (InvalidOperation, ValidationError) as error:
        raise typer.BadParameter(f"--usd-per-{per} is {usd!r}; give dollars above 0, like 2.50.") from error


def _names(text: str | None) -> tuple[str, ...] | None:
    """The names of a comma-separated list.

    >>> _names("auto, legal,"), _names(None)
    (('auto', 'legal'), None)
    """
    if text is None:
        return None
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise typer.BadParameter("--models names no model; leave it out to allow all.")
    return names


def _public(record: KeyRecord) -> dict[str, Any]:
    key = record.key
    return {
        "name": key.key_id,
        "role": key.role,
        "models": None if key.models is None else list(key.models),
        "limits": [limit.model_dump(mode="json", exclude_none=True) for limit in key.limits],
        "semantic_cache": key.semantic_cache,
        "store_texts": key.store_texts,
        "priority": key.priority,
        "created_at_s": record.created_at_s,
        "revoked_at_s": record.revoked_at_s,
    }


def _table(records: tuple[KeyRecord, ...]) -> Table:
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table(box=SIMPLE, show_edge=False, pad_edge=False)
    for column in ("name", "role", "models", "limits", "made", "revoked"):
        table.add_column(column, overflow="fold")
    for record in records:
        key = record.key
        table.add_row(
            key.key_id,
            key.role,
            "all" if key.models is None else ", ".join(key.models),
            ", ".join(_limit_text(limit) for limit in key.limits) or "–",
            _day(record.created_at_s),
            "–" if record.revoked_at_s is None else _day(record.revoked_at_s),
        )
    return table


def _limit_text(limit: Limit) -> str:
    """A limit in words.

    >>> from serve_app.config.budgets import Limit
    >>> _limit_text(Limit(per="day", usd="2.50", tokens=10_000))
    '$2.50 and 10,000 tokens a day'
    """
    parts = [] if limit.usd is None else [f"${limit.usd}"]
    if limit.tokens is not None:
        parts.append(f"{limit.tokens:,} tokens")
    return f"{' and '.join(parts)} a {limit.per}"


def _day(moment_s: float) -> str:
    return datetime.fromtimestamp(moment_s, UTC).strftime("%Y-%m-%d")
