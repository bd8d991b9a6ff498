"""The router deployment: a classifier in a replica, loopback, a health check, and the routing that it follows."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from ray.serve.handle import DeploymentHandle

from serve_app.cache import VectorSource
from serve_app.config.routing import RouterSettings
from serve_app.core import ConfigError, Message, RouteScore
from serve_app.deployments.background import Background
from serve_app.deployments.handles import LedgerHandle
from serve_app.deployments.lag import Measured
from serve_app.deployments.logs import log_to_replica
from serve_app.deployments.loopback import bind_to_node
from serve_app.router.following import Load, RouterFollower

_LEDGER_WITHIN_S = 5.0
"""So long a new replica waits for the ledger before it starts with the router of the settings."""
T = TypeVar("T")
_PROBE = (Message("user", "hello"),)


class RouterServer(Measured):
    """One replica of the domain classifier."""

    async def __init__(  # type: ignore[misc]
        self, settings: RouterSettings, threads: int, ledger: DeploymentHandle | None = None, follow_s: float = 0.5
    ) -> None:
        """Serve awaits this. Loads encoder and classifier; with a ledger, takes the router that was applied last.

        Raises CatalogueError when the encoder is not there.
        """
        bind_to_node()
        log_to_replica()
        self._settings = settings
        source = None if ledger is None else LedgerHandle(ledger)
        self._load = await asyncio.to_thread(_loader, settings, threads)
        self._follower = RouterFollower(self._load, source, follow_s)
        self._vectors = OneLoad(partial(_load_vectors, settings, threads))
        await self._follower.begin(_LEDGER_WITHIN_S)
        self._background = Background()
        if source is not None:
            self._background.start(self._follower.run())

    async def score(self, conversation: tuple[Message, ...]) -> RouteScore:
        """The domain of a conversation."""
        return await self._follower.router.score(conversation)

    async def trial(self, files: Mapping[str, bytes]) -> tuple[str, ...]:
        """The labels of a router with these files. Raises DataError or ConfigError where it cannot be used here."""
        router = await asyncio.to_thread(self._load, files)
        return tuple((await router.score(_PROBE)).probabilities)

    async def artifact_digest(self) -> str:
        """Of the files of the router that answers now."""
        applied = self._follower.digest
        return await asyncio.to_thread(_digest, self._settings) if applied is None else applied

    async def vector(self, text: str, digest: str) -> Any:
        """The sentence vector of a question, shape (dimension,), for the semantic cache; None: it is too long.

        The first call loads an encoder for it. Raises ConfigError where the encoder is not the one with this digest.
        """
        vectors = await self._vectors.get()
        if vectors.digest != digest:
            raise ConfigError(
                f"cache.semantic.policy was fitted with encoder {digest[:12]}, and {vectors.digest[:12]} serves: "
                "fit it again with `headrace cache fit`."
            )
        return await vectors.vector(text)

    async def check_health(self) -> None:
        """Serve replaces the replica when it can no longer score, or its background work has died."""
        self._background.check()
        await self._follower.router.score(_PROBE)


class OneLoad(Generic[T]):
    """What the first call that needs it loads, in a thread, for all: those that come meanwhile wait for it."""

    def __init__(self, load: Callable[[], T]) -> None:
        self._load, self._loading = load, asyncio.Lock()
        self._loaded: T | None = None

    async def get(self) -> T:
        """Raises what `load` raises; the next call tries again."""
        async with self._loading:
            if self._loaded is None:
                self._loaded = await asyncio.to_thread(self._load)
            return self._loaded


def _load_vectors(settings: RouterSettings, threads: int) -> VectorSource:
    from serve_app.cache.encoded import EncoderVectors
    from serve_app.catalogue import resolve

    return EncoderVectors(resolve(settings.encoder).path, threads)


def _digest(settings: RouterSettings) -> str:
    from serve_app.adapters.registry.routing import ROUTER_FILES, digest_of
    from serve_app.router.load import folder_of

    folder = folder_of(settings)
    return digest_of({name: (folder / name).read_bytes() for name in ROUTER_FILES})


def _loader(settings: RouterSettings, threads: int) -> Load:
    """Loads routers over one encoder. Imports here, because a process that only binds a graph needs no ONNX Runtime."""
    from serve_app.confidence import gain
    from serve_app.patterns.prerouter import PreRouter
    from serve_app.router.conversation import last_text
    from serve_app.router.load import RouterLoader

    loader = RouterLoader(settings, threads)
    if settings.gain is None:
        return loader.load
    estimate = gain.read(Path(settings.gain), loader.encoder_digest)
    return lambda files: PreRouter(loader.load(files), estimate, last_text)
