"""From what a user writes to a database URL, and back to something that may be shown."""

from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from serve_app.core import ConfigError

_WANTED = "write sqlite:///FILE, a plain path, or postgresql://USER@HOST/DATABASE"


def store_url(text: str) -> URL:
    """The SQLAlchemy URL of a store. Raises ConfigError, which never repeats a password.

    >>> store_url("data/ledger.sqlite3").render_as_string()
    'sqlite:///data/ledger.sqlite3'
    >>> store_url("postgresql://ada@db/ledger").drivername
    'postgresql+psycopg'
    """
    if not text.strip():
        raise ConfigError(f"ledger.url is empty; {_WANTED}.")
    if "://" not in text:
        return URL.create("sqlite", database=str(Path(text).expanduser()))
    try:
        url = make_url(text)
        backend = url.get_backend_name()
    except (ArgumentError, ValueError) as error:
        raise ConfigError(f"ledger.url is not a database URL; {_WANTED}.") from error
    if backend == "sqlite":
        return _sqlite(url)
    if backend in ("postgresql", "postgres"):
        if not url.database:
            raise ConfigError(f"ledger.url names no database on {shown(url)}; {_WANTED}.")
        return url.set(drivername="postgresql+psycopg")
    raise ConfigError(f"ledger.url has the unknown kind {backend!r}; {_WANTED}.")


def _sqlite(url: URL) -> URL:
    if not url.database or url.database == ":memory:":
        raise ConfigError(
            "ledger.url names no file, and a ledger in memory would not outlive its process; write sqlite:///FILE."
        )
    if url.host or url.query:
        raise ConfigError("ledger.url of kind sqlite takes a file only; write sqlite:///FILE, with three slashes.")
    return URL.create("sqlite", database=str(Path(url.database).expanduser()))


def shown(url: URL) -> str:
    """The store's name for messages: no user, no password, no options.

    >>> shown(store_url("postgresql://ada:secret@db:5433/ledger?sslmode=require"))
    'postgresql://db:5433/ledger'
    """
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    port = f":{url.port}" if url.port else ""
    return f"postgresql://{url.host or ''}{port}/{url.database or ''}"
