"""From settings to a router with its encoder."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from serve_app.catalogue import resolve
from serve_app.config.routing import RouterSettings
from serve_app.encoder import Encoder
from serve_app.router.domain import DomainRouter, shipped


def load_router(settings: RouterSettings, threads: int) -> DomainRouter:
    """Raises CatalogueError without the encoder, DataError or ConfigError where the artifact does not fit it."""
    return RouterLoader(settings, threads).load()


class RouterLoader:
    """Makes routers over one encoder, which is loaded once."""

    def __init__(self, settings: RouterSettings, threads: int) -> None:
        """Raises CatalogueError without the encoder."""
        self._settings = settings
        self._encoder = Encoder(resolve(settings.encoder).path, threads)

    @property
    def encoder_digest(self) -> str:
        """Identifies the encoder."""
        return self._encoder.digest

    def load(self, files: Mapping[str, bytes] | None = None) -> DomainRouter:
        """The router with these files, by name; None: that of the settings.

        Raises DataError where they are damaged, ConfigError where they belong to another encoder.
        """
        if files is None:
            return DomainRouter.load(folder_of(self._settings), self._encoder, self._settings.floor)
        with tempfile.TemporaryDirectory(prefix="headrace-router-") as folder:
            for name, data in files.items():
                (Path(folder) / name).write_bytes(data)
            return DomainRouter.load(Path(folder), self._encoder, self._settings.floor)


def folder_of(settings: RouterSettings) -> Path:
    """Where the router of the settings lies."""
    return shipped() if settings.artifact == "shipped" else Path(settings.artifact)
