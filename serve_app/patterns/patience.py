"""How long a node may let a client wait: for the first words, and between two of them.

A machine that vanishes breaks no connection: only its silence tells.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeVar

from serve_app.core import Delta, EngineError, MemberDelta, ReplicaLost

PieceT = TypeVar("PieceT", Delta, MemberDelta)


@dataclass(frozen=True, slots=True)
class Patience:
    """With one call; None: any time."""

    first_token_s: float | None = None
    """Seconds to the first delta, its wait in queues included."""
    silence_s: float | None = None
    """Seconds between two deltas."""

    async def watched(self, source: AsyncIterator[PieceT], node: str) -> AsyncGenerator[PieceT]:
        """The deltas of `source`, which is closed in the end.

        Raises EngineError where the first one takes too long, as with a queue, and ReplicaLost where a later one does.
        """
        most_s, begun = self.first_token_s, False
        async with aclosing(source) as deltas:  # type: ignore[type-var]
            while True:
                try:
                    async with asyncio.timeout(most_s) as bound:
                        delta = await anext(deltas)
                except StopAsyncIteration:
                    return
                except TimeoutError:
                    if not bound.expired():
                        raise
                    raise self._lost(node, begun) from None
                yield delta
                most_s, begun = self.silence_s, True

    def _lost(self, node: str, begun: bool) -> EngineError:
        if begun:
            return ReplicaLost(
                f"{node} said nothing more for {self.silence_s:g} s (gateway.silence_timeout_s); try again."
            )
        return EngineError(
            f"{node} said nothing within {self.first_token_s:g} s (gateway.first_token_timeout_s); try again."
        )


ANY_TIME = Patience()
"""No bounds."""
