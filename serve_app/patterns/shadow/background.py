"""A node as background work sees it: behind every client."""

from collections.abc import AsyncIterator
from dataclasses import replace

from serve_app.core import Call, Delta, Engine, EngineInfo
from serve_app.patterns.answerers import SPARE_PRIORITY, Node


class _Background:
    """A core.Engine that asks another one with the priority of background work."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def generate(self, call: Call) -> AsyncIterator[Delta]:
        """See `Engine`."""
        return self._engine.generate(replace(call, priority=SPARE_PRIORITY))

    async def info(self) -> EngineInfo:
        """See `Engine`."""
        return await self._engine.info()


def in_background(node: Node) -> Node:
    """The same node, for work that no client waits for."""
    return replace(node, engine=_Background(node.engine))
