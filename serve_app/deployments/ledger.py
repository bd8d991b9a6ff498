"""The ledger deployment: everything that writes the one database, in a replica, with loopback and a health check.

Beside the calls of gateways it does seven things on its own: it adopts the journals that dead gateways left on its
node, sends drainers to other nodes for theirs, takes back the budget of those whose journals are gone, deletes what is
past its retention, counts the replicas that run, brings the settings' adapters into the registry, and judges canaries.
"""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from serve_app.adapters.registry import AdapterRegistry
from serve_app.adapters.registry.routing import RoutingRegistry
from serve_app.budgets import Ask, BudgetAuthority, Grant
from serve_app.canary import CanaryTrials
from serve_app.config import Settings
from serve_app.config.prices import PricesSettings
from serve_app.core import Answer, LedgerError
from serve_app.deployments.adapters import RegistryCalls, seeded
from serve_app.deployments.background import Background
from serve_app.deployments.drainer import DrainerKeeper, sender
from serve_app.deployments.lag import Measured
from serve_app.deployments.logs import log_to_replica
from serve_app.deployments.loopback import bind_to_node
from serve_app.deployments.orphans import Orphans
from serve_app.deployments.paths import folder_here
from serve_app.deployments.provisioned import ProvisionedSampler
from serve_app.deployments.ray_metrics import RayInstruments, keep_sampling
from serve_app.deployments.routing import RoutingCalls
from serve_app.keys import KeySnapshot, KeyStore
from serve_app.ledger import SqlLedger
from serve_app.ledger.price_store import PriceVersions
from serve_app.ledger.price_version import price_versions
from serve_app.ledger.provisioned import Provisioned
from serve_app.ledger.texts import StoredText, TextStore
from serve_app.store import Store
from serve_app.telemetry.counting import Counting, Sampler

_TIDY_EVERY_S = 3600.0
_SILENT_S = 3600.0
"""A gateway of which nothing was heard for so long, and the time of a query more, is gone."""
_LOG = logging.getLogger("ray.serve")


class LedgerServer(RegistryCalls, RoutingCalls, Measured):
    """The only replica that writes the database. SQL runs in the store's threads, not on the replica's loop."""

    async def __init__(self, settings: Settings, journals: str) -> None:  # type: ignore[misc]
        """Serve awaits this. `journals`: the folder of gateways' journals on each node.

        Opens the database and upgrades its tables; raises LedgerError, and ConfigError where a price version is in the
        database with other prices.
        """
        bind_to_node()
        log_to_replica()
        self._settings = settings.ledger
        self._silent_s = _SILENT_S + settings.gateway.timeout_s
        store = Store(settings.ledger.url)
        self._ledger = SqlLedger(store)
        await self._ledger.open()
        self._prices = PriceVersions(store)
        await self.keep_prices(settings.prices)
        self._texts, self._keys, self._budgets = TextStore(store), KeyStore(store), BudgetAuthority(store)
        instruments = RayInstruments("ledger")
        figures, states = Counting(instruments), Sampler(instruments)
        self._orphans = Orphans(folder_here(journals), self._ledger, self._budgets.reclaim, figures.lost)
        self._drainers = DrainerKeeper(sender(journals), figures.lost)
        self._sampler = ProvisionedSampler(Provisioned(store))
        self._registry, self._routing = AdapterRegistry(store), RoutingRegistry(store)
        upkeep = await seeded(self._registry, settings)
        self._trials = CanaryTrials(store, settings.canary)
        states.watch(self._trials.readings)
        self._background = Background()
        self._background.start(
            self._orphans.run(), self._drainers.run(), self._sampler.run(), self._tidy(), upkeep.run()
        )
        self._background.start(self._trials.run(), keep_sampling(states))

    async def record(self, answers: Sequence[Answer]) -> None:
        """Store accounts; returns after commit."""
        self._budgets.heard({one.gateway for one in answers if one.gateway})
        await self._ledger.record(answers)

    async def query(self, query_id: str) -> dict[str, Any] | None:
        """One stored account, or None."""
        return await self._ledger.query(query_id)

    async def stats(
        self, since_s: float | None, until_s: float | None, group_by: tuple[str, ...], key_id: str | None = None
    ) -> dict[str, Any]:
        """Totals and groups over a time range."""
        return await self._ledger.stats(since_s, until_s, group_by, key_id)

    async def recent(
        self, limit: int, before: float | tuple[float, str] | None = None, key_id: str | None = None
    ) -> Sequence[Mapping[str, Any]]:
        """Stored accounts, newest first."""
        return await self._ledger.recent(limit, before, key_id)

    async def lease(self, gateway: str, asks: Sequence[Ask]) -> tuple[Grant, ...]:
        """Answer a gateway's asks for budget."""
        return await self._budgets.lease(gateway, asks)

    async def reclaim(self, gateway: str) -> int:
        """Charge a dead gateway's grants with what its queries cost, once its journal is adopted."""
        return await self._budgets.reclaim(gateway)

    async def keys(self) -> KeySnapshot:
        """The stored API keys."""
        return await self._keys.keys()

    async def keep_prices(self, prices: PricesSettings) -> None:
        """Keep the price versions that bills are made with; a known one must have the same prices."""
        await self._prices.keep(price_versions(prices))

    async def put_texts(self, stored: Sequence[StoredText]) -> None:
        """Keep prompts and answers."""
        await self._texts.put(stored)

    async def check_health(self) -> None:
        """Serve replaces the replica when its background work has died. A database that is away is no reason.

        A new replica could not open it either, and this one answers, with an error, and is there when it comes back.
        """
        self._background.check()

    async def close(self) -> None:
        """Finish what is under way and disconnect."""
        await self._background.stop()
        try:
            await self._sampler.close()
        finally:
            await self._ledger.close()

    async def _tidy(self) -> None:
        """Delete what is past its retention, and take back what silent gateways hold, now and every hour."""
        while True:
            try:
                await self._texts.prune(self._settings.texts.retention_days, time.time())
                if self._settings.retention_days is not None:
                    await self._ledger.prune(self._settings.retention_days)
                await self._budgets.reclaim_silent(self._silent_s)
            except LedgerError as error:
                _LOG.warning("Old accounts or texts, or the budget of silent gateways, are still there: %s", error)
            await asyncio.sleep(_TIDY_EVERY_S)


class LedgerReplica(LedgerServer):
    """What Serve runs: `__del__` is its only hook for the end. It awaits it; Python, elsewhere, would not."""

    async def __del__(self) -> None:
        await self.close()
