"""Bring a database to the newest schema; safe when several processes open it at once."""

from importlib import resources

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from serve_app.store.errors import StoreError

_LOCK_KEY = 0x4865616472616365
"""PostgreSQL advisory lock of the migration; the letters `Headrace`."""


def upgrade(connection: Connection, target: str = "head") -> None:
    """Apply what is missing up to revision `target`, inside the caller's write transaction: all of it or nothing.

    A second opener waits: on SQLite for the writer's lock that BEGIN IMMEDIATE took, on PostgreSQL for an advisory
    lock. It then finds the schema done. Raises StoreError when a newer Headrace made the database.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
    config = _config()
    current, known = current_revision(connection), _revisions(config)
    if current is not None and current not in known:
        raise StoreError(f"The database has schema {current}, made by a newer Headrace; install that version or newer.")
    if current != known[0]:
        config.attributes["connection"] = connection
        command.upgrade(config, target)


def check(connection: Connection) -> None:
    """Raises StoreError unless the database has the newest schema. Changes nothing."""
    current, newest = current_revision(connection), _revisions(_config())[0]
    if current is None:
        raise StoreError("The database holds no Headrace tables; start `headrace serve` once to make them.")
    if current != newest:
        raise StoreError(
            f"The database has schema {current}, this Headrace needs {newest}; start `headrace serve` "
            "once to upgrade it, or install the newer version."
        )


def current_revision(connection: Connection) -> str | None:
    """The revision that the database is at; None when it has no tables of ours."""
    return MigrationContext.configure(connection).get_current_revision()


def _revisions(config: Config) -> list[str]:
    """All known revisions, newest first."""
    return [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]


def _config() -> Config:
    config = Config()
    folder = str(resources.files("serve_app.store").joinpath("migrations"))
    config.set_main_option("script_location", folder.replace("%", "%%"))  # a percent sign is syntax to configparser
    config.set_main_option("path_separator", "os")
    return config
