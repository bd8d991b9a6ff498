"""The protocols of `core` over Serve handles: a pattern cannot tell a replica from a plain object."""

from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from typing import Any, TypeVar

from ray.serve.handle import DeploymentHandle

from serve_app.budgets import Ask, Grant
from serve_app.cache.neighbours import Vector
from serve_app.config.prices import PricesSettings
from serve_app.core import (
    Answer,
    Call,
    Delta,
    EngineError,
    EngineInfo,
    HeadraceError,
    LedgerError,
    Message,
    Overloaded,
    RouteScore,
)
from serve_app.deployments.errors import unwrapped
from serve_app.keys import KeySnapshot
from serve_app.ledger.texts import StoredText

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


class VectorHandle:
    """`cache.VectorSource` on the router's replicas, which have an encoder loaded."""

    def __init__(self, handle: DeploymentHandle, digest: str) -> None:
        """`digest`: of the encoder that the vectors have to come from; a router with another one refuses."""
        self._handle, self.digest = handle, digest

    async def vector(self, text: str) -> Vector | None:
        """See `VectorSource`. Raises EngineError when the router cannot answer."""
        vector: Vector | None = await _result(self._handle.vector.remote(text, self.digest), "router", EngineError)
        return vector


class LedgerHandle:
    """`gateway.LedgerNode` on the one replica that writes. Every method raises LedgerError when it cannot."""

    def __init__(self, handle: DeploymentHandle) -> None:
        self._handle = handle

    async def record(self, answers: Sequence[Answer]) -> None:
        """Returns after commit."""
        await self._asked(self._handle.record.remote(tuple(answers)))

    async def query(self, query_id: str) -> dict[str, Any] | None:
        """One stored account, or None."""
        account: dict[str, Any] | None = await self._asked(self._handle.query.remote(query_id))
        return account

    async def stats(
        self, since_s: float | None, until_s: float | None, group_by: tuple[str, ...], key_id: str | None = None
    ) -> dict[str, Any]:
        """Totals and groups. Raises RequestError on a bad group."""
        stats: dict[str, Any] = await self._asked(self._handle.stats.remote(since_s, until_s, group_by, key_id))
        return stats

    async def recent(
        self, limit: int, before: float | tuple[float, str] | None = None, key_id: str | None = None
    ) -> Sequence[Mapping[str, Any]]:
        """Stored accounts, newest first."""
        found: Sequence[Mapping[str, Any]] = await self._asked(self._handle.recent.remote(limit, before, key_id))
        return found

    async def lease(self, gateway: str, asks: Sequence[Ask]) -> tuple[Grant, ...]:
        """Budget for a gateway."""
        grants: tuple[Grant, ...] = await self._asked(self._handle.lease.remote(gateway, tuple(asks)))
        return grants

    async def reclaim(self, gateway: str) -> int:
        """Budget of a dead gateway."""
        num_grants: int = await self._asked(self._handle.reclaim.remote(gateway))
        return num_grants

    async def keys(self) -> KeySnapshot:
        """The stored API keys."""
        snapshot: KeySnapshot = await self._asked(self._handle.keys.remote())
        return snapshot

    async def keep_prices(self, prices: PricesSettings) -> None:
        """Price versions that bills are made with. Raises ConfigError where one is known with other prices."""
        await self._asked(self._handle.keep_prices.remote(prices))

    async def put_texts(self, stored: Sequence[StoredText]) -> None:
        """Prompts and answers."""
        await self._asked(self._handle.put_texts.remote(tuple(stored)))

    async def _asked(self, response: Awaitable[T]) -> T:
        try:
            return await _result(response, "ledger", LedgerError)
        except Overloaded as error:  # to whoever asks the ledger its full queue is one more reason to come back later
            raise LedgerError(str(error)) from error
