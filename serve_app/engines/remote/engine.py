"""RemoteEngine: a core.Engine whose answers come from the first server of a list that can give them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing

from serve_app.config.nodes import NodeSettings
from serve_app.core import (
    Call,
    ConfigError,
    Delta,
    EngineError,
    EngineInfo,
)
from serve_app.engines.adapters import named_adapter
from serve_app.engines.deadline import in_time
from serve_app.engines.places import Places
from serve_app.engines.remote.asking import Ask, ask_of
from serve_app.engines.remote.breaker import Permit
from serve_app.engines.remote.faults import ServerFault
from serve_app.engines.remote.models import context_tokens
from serve_app.engines.remote.server import Server
from serve_app.engines.remote.tries import Tries, WaitCause
from serve_app.engines.tally import PromptTally
from serve_app.engines.versions import no_version
from serve_app.telemetry import instruments as its
from serve_app.telemetry.instruments import Reading

_LOG = logging.getLogger(__name__)


class RemoteEngine:
    """`await start()` before the first call, `await close()` at the end. Its calls belong to one event loop.

    A call that fails before its first delta is asked again, of another server or after a wait; after the first delta it
    ends in EngineError, since what was sent cannot be taken back.
    """

    def __init__(
        self,
        node: NodeSettings,
        adapters: Sequence[str] = (),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`adapters`: what calls may name. Raises ConfigError for an adapter that no server has, or a key not set."""
        if node.remote is None:
            raise ConfigError("engine openai needs a section `remote` that names its servers.")
        self._node, self._remote, self._sleep = node, node.remote, sleep
        for name in adapters:
            if not any(name in server.adapters for server in node.remote.servers):
                raise ConfigError(f"No server under `remote.servers` has adapter {name!r}; name it in its `adapters`.")
        self._adapters = {
            name: next(one.adapters[name] for one in node.remote.servers if name in one.adapters) for name in adapters
        }
        """Name -> what the first server that has it calls it, which stands for its version."""
        self._servers = [Server(one, node.remote, node.max_context_tokens) for one in node.remote.servers]
        self._places = Places(node.max_rows, node.max_waiting)
        self._context_tokens = node.max_context_tokens
        self._tally = PromptTally()
        self._waited_s: dict[WaitCause, float] = {"rate_limit": 0.0, "backoff": 0.0}

    async def start(self) -> None:
        """Ask every server what it knows of its model. A server that is away is no hindrance."""
        told = await asyncio.gather(*(context_tokens(server) for server in self._servers))
        self._context_tokens = min((one for one in told if one), default=self._node.max_context_tokens)

    async def close(self) -> None:
        """Close all connections. Idempotent."""
        await asyncio.gather(*(server.client.aclose() for server in self._servers))

    async def generate(self, call: Call) -> AsyncGenerator[Delta]:
        """See core.Engine. Closing the iterator closes the connection to the server at once."""
        named_adapter(self._adapters, call.adapter)
        if call.adapter is not None and not any(server.serves(call) for server in self._servers):
            raise no_version(call.adapter, call.adapter_version or "")
        ask = ask_of(call, self._node, self._remote.top_logprobs)
        allowed_s = self._remote.timeout_s if call.timeout_s is None else min(call.timeout_s, self._remote.timeout_s)
        deadline_s = asyncio.get_running_loop().time() + allowed_s
        too_late = f"{self._node.model} did not answer within {allowed_s:g} s; allow more time"
        timed = in_time(self._placed(ask, deadline_s), deadline_s, too_late)
        async with aclosing(self._tally.count(timed)) as deltas:
            async for delta in deltas:
                yield delta

    async def info(self) -> EngineInfo:
        """See core.Engine. Asks nobody and never fails: a server that is away is no reason to replace this replica."""
        return EngineInfo(
            model=self._node.model,
            max_context_tokens=self._context_tokens,
            adapters=dict(self._adapters),
            dtype="remote",
            device="remote",
            active_rows=self._places.num_active,
            waiting_calls=self._places.num_waiting,
            resident_adapters=tuple(self._adapters),
            prompt_tokens=self._tally.prompt_tokens,
            reused_tokens=self._tally.reused_tokens,
        )

    def readings(self) -> Iterator[Reading]:
        """See `telemetry.instruments.Instrumented`: what only this replica knows of its servers."""
        for server in self._servers:
            for outcome, num_calls in server.num_calls.items():
                yield Reading(its.REMOTE_CALLS, num_calls, (server.name, outcome))
            yield Reading(its.REMOTE_RETRIES, server.num_retries, (server.name,))
            yield Reading(its.REMOTE_OPEN, server.breaker.state != "closed", (server.name,))
        for cause, seconds in self._waited_s.items():
            yield Reading(its.REMOTE_WAITS, seconds, (cause,))

    async def _placed(self, ask: Ask, deadline_s: float) -> AsyncGenerator[Delta]:
        """One place among `max_rows`; then server after server, until one answers."""
        async with self._places.place(ask.call.priority):
            servers = [server for server in self._servers if server.serves(ask.call)]
            tries = Tries(servers, self._remote, deadline_s, self._sleep, self._waited_s)
            while True:
                server, permit = await tries.next()
                sent = False
                async with aclosing(self._of(server, ask, permit, tries)) as deltas:
                    async for delta in deltas:
                        sent = True
                        yield delta
                if sent:
                    return

    async def _of(self, server: Server, ask: Ask, permit: Permit, tries: Tries) -> AsyncGenerator[Delta]:
        """One server's answer: whole, or none at all where it failed before its first delta."""
        num_sent = 0
        try:
            async with aclosing(server.stream(ask, permit)) as deltas:
                async for delta in deltas:
                    num_sent += 1
                    yield delta
        except ServerFault as fault:
            if num_sent:
                raise EngineError(f"{server.name} {fault}, in the middle of its answer; try again.") from fault
            tries.failed(server, fault)
            _LOG.info("call %s: %s %s", ask.call.call_id, server.name, fault)
