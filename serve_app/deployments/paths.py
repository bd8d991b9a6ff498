"""Relative paths are made absolute before they are sent: a replica has another working directory."""

import hashlib
import os
from pathlib import Path

import platformdirs

from serve_app.catalogue import entries
from serve_app.config import Settings
from serve_app.config.checklist import ChecklistSettings
from serve_app.config.ledger import LedgerSettings
from serve_app.core import ConfigError
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
    router = settings.router
    if router.artifact != "shipped":
        router = router.model_copy(update={"artifact": folder_path(router.artifact)})
    anchored = {"cascade": cascade, "cache": cache, "router": router, "checklist": _anchored(settings.checklist)}
    return settings.model_copy(update=anchored)


def _anchored(settings: ChecklistSettings) -> ChecklistSettings:
    data = {
        name: files.model_copy(update={"train": file_path(files.train), "test": files.test and file_path(files.test)})
        for name, files in settings.data.items()
    }
    return settings.model_copy(update={"data": data, "records": str(Path(settings.records).expanduser().absolute())})


def journals_path(settings: LedgerSettings) -> str:
    """The folder of the gateways' journals, on whichever node they run: for `folder_here` there.

    One folder per database, so that no journal is adopted into another one. Raises ConfigError.
    """
    folder = settings.journal.folder
    if folder is not None:
        return folder if folder.startswith("$") else str(Path(folder).expanduser().absolute())
    url = ledger_url(settings.url)
    if store_url(url).get_backend_name() == "sqlite":
        return f"{url}.journals"
    return str(platformdirs.user_state_path("headrace") / "journals" / database_name(url))


def place_path(store: str) -> str:
    """Where files are kept: a folder as an absolute path, the address of an object store as it is."""
    return store if "://" in store else str(Path(store).expanduser().absolute())


def with_artefacts(settings: Settings) -> Settings:
    """The settings with `registry.store` filled in, and folders of adapters as absolute paths. Raises ConfigError."""
    registry = settings.registry.model_copy(update={"store": _artefacts_path(settings)})
    sources = {
        name: source.model_copy(update={"path": folder_path(source.path)}) for name, source in settings.adapters.items()
    }
    return settings.model_copy(update={"registry": registry, "adapters": sources})


def _artefacts_path(settings: Settings) -> str:
    """One place per database: what its registry does not know any more is deleted there."""
    store = settings.registry.store
    if store is not None:
        return place_path(store)
    url = ledger_url(settings.ledger.url)
    if store_url(url).get_backend_name() == "sqlite":
        return f"{url}.adapters"
    return str(platformdirs.user_state_path("headrace") / "adapters" / database_name(url))


def database_name(url: str) -> str:
    """What tells the files of one database, on a node, from those of another."""
    return hashlib.sha256(shown(store_url(url)).encode()).hexdigest()[:16]


def folder_here(text: str) -> Path:
    """A folder whose path may hold environment variables, which are those of the node that this process runs on.

    Raises ConfigError, which names the folder, where one of them is not set here.
    """
    path = Path(os.path.expandvars(text))
    if not path.is_absolute():
        raise ConfigError(
            f"ledger.journal.folder: {text!r} is no absolute path on this node; set its environment variables there "
            "before Ray starts."
        )
    return path


def ledger_url(text: str) -> str:
    """The database, a SQLite file as an absolute path: in a URL a `?` or `%` would be syntax. Raises ConfigError.

    >>> ledger_url("sqlite:////var/lib/headrace.sqlite3"), ledger_url("postgresql://ada:pw@db/ledger")
    ('/var/lib/headrace.sqlite3', 'postgresql://ada:pw@db/ledger')
    """
    url = store_url(text)
    return text if url.get_backend_name() != "sqlite" else str(Path(str(url.database)).absolute())
