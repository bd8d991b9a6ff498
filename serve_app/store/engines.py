"""SQLAlchemy engines, set up for one writer and some readers.

SQLite: write-ahead log, so that readers never wait for the writer; BEGIN IMMEDIATE, so that a writer takes its lock at
the start and waits `busy_timeout` instead of failing in the middle; `synchronous=FULL`, because whoever handed a
record over forgets it once `record` returned: it must survive a power cut, and one fsync per batch is cheap.
"""

from collections.abc import Callable
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event

from serve_app.core import ConfigError

BUSY_TIMEOUT_MS = 10_000
"""How long a connection waits for another process's lock before the store says that it is locked."""

POSTGRES_OPTIONS = {
    "connect_timeout": 10,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""libpq's names; seconds, a count, milliseconds. A server whose machine is gone says nothing: without these the one
thread that writes would wait for it for hours. The same options in the URL count instead."""


def writer_engine(url: URL) -> Engine:
    """An engine whose transactions may write; meant for one thread, so it holds one connection."""
    engine = _create(url, pool_size=1)
    if engine.dialect.name == "sqlite":
        _set_up_sqlite(engine, begin="BEGIN IMMEDIATE", pragmas=("journal_mode=WAL", "synchronous=FULL"))
    return engine


def reader_engine(url: URL, num_threads: int) -> Engine:
    """An engine whose transactions each see one snapshot and cannot write."""
    engine = _create(url, pool_size=num_threads)
    if engine.dialect.name == "sqlite":
        _set_up_sqlite(engine, begin="BEGIN", pragmas=("query_only=ON",))
        return engine
    return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def _create(url: URL, pool_size: int) -> Engine:
    postgres = url.drivername != "sqlite"
    options = {name: value for name, value in POSTGRES_OPTIONS.items() if postgres and name not in url.query}
    try:
        return create_engine(url, pool_size=pool_size, max_overflow=0, pool_pre_ping=postgres, connect_args=options)
    except ModuleNotFoundError as error:
        raise ConfigError("ledger.url is PostgreSQL, whose driver is missing; install headrace[postgres].") from error


def _set_up_sqlite(engine: Engine, begin: str, pragmas: tuple[str, ...]) -> None:
    def on_connect(dbapi_connection: Any, record: Any) -> None:
        dbapi_connection.isolation_level = None  # sqlite3 must not open transactions of its own; `on_begin` does
        for pragma in (f"busy_timeout={BUSY_TIMEOUT_MS}", "foreign_keys=ON", *pragmas):
            dbapi_connection.execute(f"PRAGMA {pragma}").close()

    def on_begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    listeners: tuple[tuple[str, Callable[..., None]], ...] = (("connect", on_connect), ("begin", on_begin))
    for name, listener in listeners:
        event.listen(engine, name, listener)
