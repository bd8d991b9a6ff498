"""The router deployment: a classifier in a replica, loopback, a health check. Nothing else."""

from pathlib import Path

from serve_app.config.routing import RouterSettings
from serve_app.core import Message, Router, RouteScore
from serve_app.deployments.lag import Measured
from serve_app.deployments.loopback import bind_to_node

_PROBE = (Message("user", "hello"),)


class RouterServer(Measured):
    """One replica of the domain classifier."""

    def __init__(self, settings: RouterSettings, threads: int) -> None:
        """Loads encoder and classifier. Raises CatalogueError when the encoder is not there."""
        bind_to_node()
        self._router = _load(settings, threads)

    async def score(self, conversation: tuple[Message, ...]) -> RouteScore:
        """The domain of a conversation."""
        return await self._router.score(conversation)

    async def check_health(self) -> None:
        """Serve replaces the replica when it can no longer score."""
        await self._router.score(_PROBE)


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
