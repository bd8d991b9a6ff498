"""The protocols of `core` over Serve handles: a pattern cannot tell a replica from a plain object."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from ray.serve.handle import DeploymentHandle, DeploymentResponseGenerator

from serve_app.budgets import Ask, Grant
from serve_app.cache.neighbours import Vector
from serve_app.config.prices import PricesSettings
from serve_app.core import (
    Answer,
    Call,
    Delta,
    EngineError,
    EngineInfo,
    Group,
    LedgerError,
    MemberDelta,
    Message,
    Overloaded,
    RouteScore,
)
from serve_app.deployments.adapters import RegistryHandle
from serve_app.deployments.errors import lost, unwrapped
from serve_app.deployments.results import is_ours, result
from serve_app.deployments.routing import RoutingHandle, for_large
from serve_app.keys import KeySnapshot
from serve_app.ledger.texts import StoredText

_LOG = logging.getLogger("ray.serve")

T = TypeVar("T")


@dataclass(slots=True)
class _Progress:
    """How far a stream was read."""

    finished: bool = False


class EngineHandle:
    """`core.GroupEngine` on the replicas of one deployment."""

    def __init__(self, handle: DeploymentHandle, node: str) -> None:
        self._handle, self._node = handle, node
        streaming = handle.options(stream=True, request_serialization="pickle")  # ours are plain: no cloudpickle
        self._generate, self._generate_group = streaming.generate, streaming.generate_group  # each look-up is a copy
        self._ending: set[asyncio.Task[None]] = set()
        """Of answers that are there: their streams have still to end."""

    async def generate(self, call: Call) -> AsyncGenerator[Delta]:
        """Stream from one replica. Closing this, or cancelling its task, closes the replica's generator.

        The last delta is the end: nobody waits for what the replica has still to do behind it.
        """
        response = self._generate.remote(call)
        async with self._reading(response) as progress:
            async for bundle in response:
                progress.finished = bundle[-1].finish_reason is not None
                if progress.finished:
                    self._read_out(response, call)
                for delta in bundle:
                    yield delta
                if progress.finished:
                    return

    async def generate_group(self, group: Group) -> AsyncGenerator[MemberDelta]:
        """All members on one replica, over one stream; else like `generate`."""
        response = self._generate_group.remote(group)
        async with self._reading(response) as progress:
            unfinished = len(group.calls)
            async for bundle in response:
                unfinished -= sum(one.is_last for one in bundle)
                progress.finished = not unfinished
                for one in bundle:
                    yield one

    @asynccontextmanager
    async def _reading(self, response: DeploymentResponseGenerator[Any]) -> AsyncIterator[_Progress]:
        """Errors are raised as themselves; the replica is told to stop unless the answer was read to its end."""
        progress = _Progress()
        try:
            yield progress
        except Exception as error:
            raise unwrapped(error, self._node, EngineError) from error
        except asyncio.CancelledError as error:
            if await is_ours():
                raise
            raise lost(self._node, EngineError) from error
        finally:
            if not progress.finished:
                response.cancel()

    def _read_out(self, response: DeploymentResponseGenerator[Any], call: Call) -> None:
        """Read the stream to its end beside the query: Serve counts a call as running until then."""

        async def end() -> None:
            try:
                async for _ in response:
                    pass
            except Exception as error:
                failure = unwrapped(error, self._node, EngineError)
                _LOG.warning("%s failed after the end of its answer to %s: %s", self._node, call.call_id, failure)

        ending = asyncio.create_task(end())
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    async def info(self) -> EngineInfo:
        """Of one replica. Raises EngineError."""
        info: EngineInfo = await result(self._handle.info.remote(), self._node, EngineError)
        return info

    async def trial(self, digest: str, base_override: bool = False) -> dict[str, Any]:
        """What a version in the artefact store answers, on one replica; see `engines.trial`.

        Raises AdapterError where it cannot be held, EngineError.
        """
        response = self._handle.trial.remote(digest, base_override)
        report: dict[str, Any] = await result(response, self._node, EngineError)
        return report


class RouterHandle:
    """`core.Router` on the replicas of one deployment."""

    def __init__(self, handle: DeploymentHandle) -> None:
        self._handle = handle

    async def score(self, conversation: tuple[Message, ...]) -> RouteScore:
        """Score on one replica. Raises EngineError when the router cannot answer."""
        score: RouteScore = await result(self._handle.score.remote(conversation), "router", EngineError)
        return score


class RouterTrialHandle:
    """`gateway.adapters.RouterTrial` on the router's replicas."""

    def __init__(self, handle: DeploymentHandle) -> None:
        self._handle = handle

    async def trial(self, files: Mapping[str, bytes]) -> tuple[str, ...]:
        """Load on one replica. Raises DataError or ConfigError for files that it cannot use."""
        response = for_large(self._handle).trial.remote(dict(files))
        labels: tuple[str, ...] = await result(response, "router", EngineError)
        return tuple(labels)

    async def artifact_digest(self) -> str:
        """Of one replica. Raises EngineError."""
        digest: str = await result(self._handle.artifact_digest.remote(), "router", EngineError)
        return digest


class VectorHandle:
    """`cache.VectorSource` on the router's replicas, which have an encoder loaded."""

    def __init__(self, handle: DeploymentHandle, digest: str) -> None:
        """`digest`: of the encoder that the vectors have to come from; a router with another one refuses."""
        self._handle, self.digest = handle, digest

    async def vector(self, text: str) -> Vector | None:
        """See `VectorSource`. Raises EngineError when the router cannot answer."""
        vector: Vector | None = await result(self._handle.vector.remote(text, self.digest), "router", EngineError)
        return vector


class LedgerHandle(RegistryHandle, RoutingHandle):
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
            return await result(response, "ledger", LedgerError)
        except Overloaded as error:  # to whoever asks the ledger its full queue is one more reason to come back later
            raise LedgerError(str(error)) from error
