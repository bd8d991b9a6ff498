"""Relative paths are made absolute before they are sent: a replica has another working directory."""

import hashlib
from pathlib import Path

import platformdirs

from serve_app.catalogue import entries
from serve_app.config import Settings
from serve_app.config.ledger import LedgerSettings
from serve_app.store import shown, store_url


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


def with_file_paths(settings: Settings) -> Settings:
    """The settings with the files that a gateway reads as absolute paths."""
    cascade, cache = settings.cascade, settings.cache
    if cascade.policy is not None:
        cascade = cascade.model_copy(update={"policy": file_path(cascade.policy)})
    if cache.semantic.policy is not None:
        semantic = cache.semantic.model_copy(update={"policy": file_path(cache.semantic.policy)})
        cache = cache.model_copy(update={"semantic": semantic})
    return settings.model_copy(update={"cascade": cascade, "cache": cache})


def journals_path(settings: LedgerSettings) -> str:
    """The folder of the gateways' journals, on whichever node they run.

    One folder per database, so that no journal is adopted into another one. Raises ConfigError.
    """
    if settings.journal.folder is not None:
        return str(Path(settings.journal.folder).expanduser().absolute())
    url = ledger_url(settings.url)
    if store_url(url).get_backend_name() == "sqlite":
        return f"{url}.journals"
    name = hashlib.sha256(shown(store_url(url)).encode()).hexdigest()[:16]
    return str(platformdirs.user_state_path("headrace") / "journals" / name)


def ledger_url(text: str) -> str:
    """The database, a SQLite file as an absolute path: in a URL a `?` or `%` would be syntax. Raises ConfigError.

    >>> ledger_url("sqlite:////var/lib/headrace.sqlite3"), ledger_url("postgresql://ada:pw@db/ledger")
    ('/var/lib/headrace.sqlite3', 'postgresql://ada:pw@db/ledger')
    """
    url = store_url(text)
    return text if url.get_backend_name() != "sqlite" else str(Path(str(url.database)).absolute())
