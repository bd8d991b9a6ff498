"""Relative paths are made absolute before they are sent: a replica has another working directory."""

from pathlib import Path

from serve_app.catalogue import entries
from serve_app.store import store_url


def model_path(model: str) -> str:
    """A model's folder as an absolute path; a name of the catalogue, or of a hub, as it is."""
    return model if model in entries() else folder_path(model)


def folder_path(text: str) -> str:
    """An existing folder as an absolute path; any other text as it is."""
    path = Path(text).expanduser()
    return str(path.absolute()) if path.is_dir() else text


def file_path(text: str) -> str:
    """An existing file as an absolute path; any other text as it is."""
    path = Path(text).expanduser()
    return str(path.absolute()) if path.is_file() else text


def ledger_url(text: str) -> str:
    """The database, a SQLite file as an absolute path: in a URL a `?` or `%` would be syntax. Raises ConfigError.

    >>> ledger_url("sqlite:////var/lib/headrace.sqlite3"), ledger_url("postgresql://ada:pw@db/ledger")
    ('/var/lib/headrace.sqlite3', 'postgresql://ada:pw@db/ledger')
    """
    url = store_url(text)
    return text if url.get_backend_name() != "sqlite" else str(Path(str(url.database)).absolute())
