"""The ledger deployment: the one writer of the accounts in a replica, loopback, a health check. Nothing else."""

from collections.abc import Sequence
from typing import Any

from serve_app.config.ledger import LedgerSettings
from serve_app.core import Answer
from serve_app.deployments.lag import Measured
from serve_app.deployments.loopback import bind_to_node
from serve_app.ledger import SqlLedger


class LedgerServer(Measured):
    """The only replica that writes the database. SQL runs in the store's threads, not on the replica's loop."""

    async def __init__(self, settings: LedgerSettings) -> None:  # type: ignore[misc]
        """Serve awaits this. Opens the database and upgrades its tables; raises LedgerError or ConfigError."""
        bind_to_node()
        self._ledger = SqlLedger(settings.url)
        await self._ledger.open()

    async def record(self, answers: Sequence[Answer]) -> None:
        """Store accounts; returns after commit."""
        await self._ledger.record(answers)

    async def query(self, query_id: str) -> dict[str, Any] | None:
        """One stored account, or None."""
        return await self._ledger.query(query_id)

    async def stats(self, since_s: float | None, until_s: float | None, group_by: tuple[str, ...]) -> dict[str, Any]:
        """Totals and groups over a time range."""
        return await self._ledger.stats(since_s, until_s, group_by)

    async def check_health(self) -> None:
        """Serve replaces the replica when the database cannot be read."""
        await self._ledger.query("")

    async def close(self) -> None:
        """Finish what is under way and disconnect."""
        await self._ledger.close()


class LedgerReplica(LedgerServer):
    """What Serve runs: `__del__` is its only hook for the end. It awaits it; Python, elsewhere, would not."""

    async def __del__(self) -> None:
        await self.close()
