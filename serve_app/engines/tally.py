"""How many prompt tokens an engine's calls had, and how many of these were reused."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from serve_app.core import Delta, Usage


class PromptTally:
    """For one event loop. The totals are what EngineInfo tells."""

    def __init__(self) -> None:
        self.prompt_tokens = 0
        self.reused_tokens = 0
        """Included in `prompt_tokens`."""

    async def count(self, deltas: AsyncGenerator[Delta]) -> AsyncGenerator[Delta]:
        """Pass an answer on and count it at its end, whatever that is; closes its iterator."""
        usage = Usage()
        async with aclosing(deltas):
            try:
                async for delta in deltas:
                    usage = delta.usage
                    yield delta
            finally:
                self.prompt_tokens += usage.prompt_tokens
                self.reused_tokens += usage.cached_tokens
