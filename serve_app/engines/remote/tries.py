"""One call's way through the servers: rounds over the list, waits between them, and what to say when nobody answers."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

from serve_app.config.remote import RemoteSettings
from serve_app.core import EngineError, HeadraceError, Overloaded
from serve_app.endpoints import jittered_s
from serve_app.engines.remote.breaker import Permit
from serve_app.engines.remote.faults import ServerFault
from serve_app.engines.remote.server import Server

_LONGEST_BACKOFF_S = 30.0

WaitCause = Literal["rate_limit", "backoff"]


class Tries:
    """In a round each server is asked once, in the order of the list, as far as its breaker and rate limit let it be.

    Between two rounds there is a wait, by chance, and at least until the first rate limit is renewed.
    """

    def __init__(
        self,
        servers: Sequence[Server],
        settings: RemoteSettings,
        deadline_s: float,
        sleep: Callable[[float], Awaitable[None]],
        waited_s: dict[WaitCause, float],
    ) -> None:
        """`deadline_s`: of the call, by the loop's clock; no wait goes beyond it. `waited_s`: waits are added to it."""
        self._servers, self._settings, self._deadline_s, self._sleep = servers, settings, deadline_s, sleep
        self._waited_s = waited_s
        self._num_rounds = 0
        self._asked: set[Server] = set()
        """In this round."""
        self._out: set[Server] = set()
        """No use asking them again for this call."""
        self._faults: dict[Server, str] = {}

    def failed(self, server: Server, fault: ServerFault) -> None:
        """Note what became of the last `next`."""
        self._faults[server] = str(fault)
        if fault.kind == "refused":
            self._out.add(server)

    async def next(self) -> tuple[Server, Permit]:
        """The server to ask now; may wait.

        Raises Overloaded where rate limits are in the way, else EngineError, when there is nobody to ask.
        """
        while True:
            for server in self._servers:
                if server in self._asked or server in self._out or server.pause_s > 0:
                    continue
                permit = server.breaker.admit()
                if permit is not None:
                    server.num_retries += bool(self._asked or self._num_rounds)
                    self._asked.add(server)
                    return server, permit
            await self._between_rounds()

    async def _between_rounds(self) -> None:
        """Wait for the next round. Raises where there is none, or none in time."""
        able = [one for one in self._servers if one not in self._out and one.breaker.rest_s == 0]
        limit_s = min((one.pause_s for one in able), default=0.0)
        if not able or self._num_rounds >= self._settings.max_retries or limit_s > self._settings.max_wait_s:
            raise self._verdict()
        backoff_s = jittered_s(self._num_rounds, self._settings.backoff_s, _LONGEST_BACKOFF_S)
        wait_s = limit_s + backoff_s
        if asyncio.get_running_loop().time() + wait_s >= self._deadline_s:
            raise self._verdict()
        self._waited_s["rate_limit"] += limit_s
        self._waited_s["backoff"] += backoff_s
        await self._sleep(wait_s)
        self._num_rounds += 1
        self._asked.clear()

    def _verdict(self) -> HeadraceError:
        """Why nobody answers."""
        said = "; ".join(f"{one.name} {self._fault(one)}" for one in self._servers)
        pauses = [one.pause_s for one in self._servers if one not in self._out and one.pause_s > 0]
        if pauses:
            wait_s = max(1, math.ceil(min(pauses)))
            return Overloaded(f"No server may be asked for {wait_s} s: {said}.", wait_s)
        return EngineError(f"No server answers: {said}.")

    def _fault(self, server: Server) -> str:
        if server.pause_s > 0 and server not in self._out:
            return f"is at its rate limit for {server.pause_s:.0f} s"
        if server in self._faults:
            return self._faults[server]
        return f"is left alone for {server.breaker.rest_s:.0f} s, since it {server.last_fault or 'failed'}"
