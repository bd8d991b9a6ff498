"""The router deployment: a classifier in a replica, loopback, a health check. Nothing else."""

import asyncio
from pathlib import Path
from typing import Any

from serve_app.cache import VectorSource
from serve_app.config.routing import RouterSettings
from serve_app.core import ConfigError, Message, Router, RouteScore
from serve_app.deployments.lag import Measured
from serve_app.deployments.logs import log_to_replica
from serve_app.deployments.loopback import bind_to_node

_PROBE = (Message("user", "hello"),)


class RouterServer(Measured):
    """One replica of the domain classifier."""

    def __init__(self, settings: RouterSettings, threads: int) -> None:
        """Loads encoder and classifier. Raises CatalogueError when the encoder is not there."""
        bind_to_node()
        log_to_replica()
        self._settings, self._threads = settings, threads
        self._router = _load(settings, threads)
        self._vectors: VectorSource | None = None

    async def score(self, conversation: tuple[Message, ...]) -> RouteScore:
        """The domain of a conversation."""
        return await self._router.score(conversation)

    async def vector(self, text: str, digest: str) -> Any:
        """The sentence vector of a question, shape (dimension,), for the semantic cache; None: it is too long.

        The first call loads an encoder for it. Raises ConfigError where the encoder is not the one with this digest.
        """
        if self._vectors is None:
            self._vectors = await asyncio.to_thread(_load_vectors, self._settings, self._threads)
        if self._vectors.digest != digest:
            raise ConfigError(
                f"cache.semantic.policy was fitted with encoder {digest[:12]}, and {self._vectors.digest[:12]} serves: "
                "fit it again with `headrace cache fit`."
            )
        return await self._vectors.vector(text)

    async def check_health(self) -> None:
        """Serve replaces the replica when it can no longer score."""
        await self._router.score(_PROBE)


def _load_vectors(settings: RouterSettings, threads: int) -> VectorSource:
    from serve_app.cache.encoded import EncoderVectors
    from serve_app.catalogue import resolve

    return EncoderVectors(resolve(settings.encoder).path, threads)


def _load(settings: RouterSettings, threads: int) -> Router:
    """Imports here, because a process that only binds a graph needs no ONNX Runtime."""
    from serve_app.confidence import gain
    from serve_app.patterns.prerouter import PreRouter
    from serve_app.router.conversation import last_text
    from serve_app.router.load import load_router

    router = load_router(settings, threads)
    if settings.gain is None:
        return router
    return PreRouter(router, gain.read(Path(settings.gain), router.encoder_digest), last_text)
