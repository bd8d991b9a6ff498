"""What the commands on a stored ledger share: the period, and the database."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from serve_app.store import Store


def period(since: str | None, until: str | None) -> tuple[float | None, float | None]:
    """Both ends in seconds since the epoch. A mistake, or an end before the start, is a usage error."""
    from serve_app.core import RequestError
    from serve_app.ledger.times import parse_time

    now_s = time.time()
    try:
        since_s = None if since is None else parse_time(since, now_s, "--since")
        until_s = None if until is None else parse_time(until, now_s, "--until")
    except RequestError as error:
        raise typer.BadParameter(str(error)) from error
    if since_s is not None and since_s >= (now_s if until_s is None else until_s):
        raise typer.BadParameter("--until must be later than --since; without --until the period ends now.")
    return since_s, until_s


@asynccontextmanager
async def opened(url: str, *, read_only: bool = True, create: bool = False) -> "AsyncIterator[Store]":
    """The database of a ledger. Only with `create` is one made where there is none: a mistyped file is an error.

    Raises LedgerError when it cannot be opened, ConfigError on a bad URL.
    """
    from serve_app.store import Store
    from serve_app.store.faults import store_faults

    if not read_only and not create:
        async with opened(url):
            pass
    store = Store(url, read_only=read_only)
    with store_faults():
        try:
            await store.open()
            yield store
        finally:
            await store.close()
