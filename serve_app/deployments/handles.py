"""The protocols of `core` over Serve handles: a pattern cannot tell a replica from a plain object."""

from collections.abc import AsyncGenerator, Awaitable, Sequence
from typing import Any, TypeVar

from ray.serve.handle import DeploymentHandle

from serve_app.core import (
    Answer,
    Call,
    Delta,
    EngineError,
    EngineInfo,
    HeadraceError,
    LedgerError,
    Message,
    RouteScore,
)
from serve_app.deployments.errors import unwrapped

T = TypeVar("T")


async def _result(response: Awaitable[T], node: str, kind: type[HeadraceError]) -> T:
    """Await one call; its error is raised as itself."""
    try:
        return await response
    except Exception as error:
        raise unwrapped(error, node, kind) from error


class EngineHandle:
    """`core.Engine` on the replicas of one deployment."""

    def __init__(self, handle: DeploymentHandle, node: str) -> None:
        self._handle, self._node = handle, node
        self._streaming = handle.options(stream=True)

    async def generate(self, call: Call) -> AsyncGenerator[Delta]:
        """Stream from one replica. Closing this, or cancelling its task, closes the replica's generator."""
        response = self._streaming.generate.remote(call)
        finished = False
        try:
            async for delta in response:
                finished = delta.finish_reason is not None
                yield delta
        except Exception as error:
            raise unwrapped(error, self._node, EngineError) from error
        finally:
            if not finished:
                response.cancel()

    async def info(self) -> EngineInfo:
        """Of one replica. Raises EngineError."""
        info: EngineInfo = await _result(self._handle.info.remote(), self._node, EngineError)
        return info


class RouterHandle:
    """`core.Router` on the replicas of one deployment."""

    def __init__(self, handle: DeploymentHandle) -> None:
        self._handle = handle

    async def score(self, conversation: tuple[Message, ...]) -> RouteScore:
        """Score on one replica. Raises EngineError when the router cannot answer."""
        score: RouteScore = await _result(self._handle.score.remote(conversation), "router", EngineError)
        return score


class LedgerHandle:
    """`core.Ledger` on the one replica that writes."""

    def __init__(self, handle: DeploymentHandle) -> None:
        self._handle = handle

    async def record(self, answers: Sequence[Answer]) -> None:
        """Returns after commit. Raises LedgerError."""
        await _result(self._handle.record.remote(tuple(answers)), "ledger", LedgerError)

    async def query(self, query_id: str) -> dict[str, Any] | None:
        """One stored account, or None. Raises LedgerError."""
        account: dict[str, Any] | None = await _result(self._handle.query.remote(query_id), "ledger", LedgerError)
        return account

    async def stats(self, since_s: float | None, until_s: float | None, group_by: tuple[str, ...]) -> dict[str, Any]:
        """Totals and groups. Raises RequestError on a bad group, LedgerError when the ledger cannot be read."""
        response = self._handle.stats.remote(since_s, until_s, group_by)
        stats: dict[str, Any] = await _result(response, "ledger", LedgerError)
        return stats
