"""From settings to a router with its encoder."""

from pathlib import Path

from serve_app.catalogue import resolve
from serve_app.config.routing import RouterSettings
from serve_app.encoder import Encoder
from serve_app.router.domain import DomainRouter, shipped


def load_router(settings: RouterSettings, threads: int) -> DomainRouter:
    """Raises CatalogueError without the encoder, DataError or ConfigError where the artifact does not fit it."""
    artifact = shipped() if settings.artifact == "shipped" else Path(settings.artifact)
    return DomainRouter.load(artifact, Encoder(resolve(settings.encoder).path, threads), settings.floor)
