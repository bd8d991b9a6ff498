"""The routing in the ledger's replica, and over its handle: the same names, with `routing_` before them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from ray.serve.handle import DeploymentHandle

from serve_app.adapters.registry.routing import Routing, RoutingRegistry


def for_large(handle: DeploymentHandle) -> DeploymentHandle:
    """The same handle for messages of more than 4 MiB, which Serve's gRPC between replicas refuses: by Ray's store."""
    return handle.options(_by_reference=True)


class RoutingCalls:
    """The routing's part of the ledger's replica. See `RoutingRegistry` for what each does and raises."""

    _routing: RoutingRegistry

    async def routing_since(self, revision: int) -> Routing | None:
        """What is in force, unless its revision is that one."""
        return await self._routing.since(revision)

    async def routing_history(self, limit: int) -> tuple[Routing, ...]:
        """The last changes, newest first."""
        return await self._routing.history(limit)

    async def routing_apply(self, wanted: Routing, files: Mapping[str, bytes] | None, after: int | None) -> Routing:
        """Put this in force."""
        return await self._routing.apply(wanted, files, after)

    async def routing_files(self, digest: str) -> dict[str, bytes]:
        """The files of a router."""
        return await self._routing.files(digest)


class RoutingHandle:
    """The same over the ledger's handle. Every method raises LedgerError when the ledger cannot be asked."""

    _handle: DeploymentHandle
    _asked: Callable[[Awaitable[Any]], Awaitable[Any]]

    async def routing_since(self, revision: int) -> Routing | None:
        """What is in force, unless its revision is that one."""
        found: Routing | None = await self._asked(self._handle.routing_since.remote(revision))
        return found

    async def routing_history(self, limit: int) -> tuple[Routing, ...]:
        """The last changes, newest first."""
        changes: Sequence[Routing] = await self._asked(self._handle.routing_history.remote(limit))
        return tuple(changes)

    async def routing_apply(self, wanted: Routing, files: Mapping[str, bytes] | None, after: int | None) -> Routing:
        """Put this in force."""
        handle = for_large(self._handle)
        applied: Routing = await self._asked(
            handle.routing_apply.remote(wanted, None if files is None else dict(files), after)
        )
        return applied

    async def routing_files(self, digest: str) -> dict[str, bytes]:
        """The files of a router."""
        files: dict[str, bytes] = await self._asked(for_large(self._handle).routing_files.remote(digest))
        return files
