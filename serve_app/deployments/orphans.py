"""Adopts the journals of gateways that died on this node: what they owed the ledger is handed over in their stead."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from serve_app.core import Ledger, LedgerError
from serve_app.ledger.journal import adopt

_LOG = logging.getLogger("ray.serve")
_EVERY_S = 2.0


class Orphans:
    """Run `run()` as a task of any process on the node: several may, and each journal is adopted by one of them."""

    def __init__(
        self,
        root: Path,
        ledger: Ledger,
        reclaim: Callable[[str], Awaitable[int]],
        on_lost: Callable[[int], None] = lambda num_lost: None,
        every_s: float = _EVERY_S,
    ) -> None:
        """`root`: where the journals lie. `reclaim`: what is due for each dead owner before its journal goes."""
        self._root, self._ledger, self._reclaim, self._on_lost = root, ledger, reclaim, on_lost
        self._every_s = every_s

    async def run(self) -> None:
        """Look for them until cancelled. What goes wrong is in the log, and tried again."""
        while True:
            try:
                await self.adopt()
            except (LedgerError, OSError) as error:
                _LOG.warning("Journals of dead gateways are not adopted yet: %s", error)
            await asyncio.sleep(self._every_s)

    async def adopt(self) -> None:
        """Once. Raises LedgerError."""
        adopted = await adopt(self._root, self._ledger, before_removal=self._reclaim)
        self._on_lost(adopted.num_lost)
