"""The adapter registry in the ledger's replica, and over its handle: the same names, with `adapters_` before them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ray.serve.handle import DeploymentHandle

from serve_app.adapters.registry import AdapterRegistry, AdapterVersion, AuditEntry, RegistrySnapshot
from serve_app.adapters.registry.artefacts import open_artefacts
from serve_app.adapters.registry.upkeep import RegistryUpkeep
from serve_app.adapters.registry.verifying import ArtefactLimits
from serve_app.canary import CanaryTrials, EvidenceRecord
from serve_app.catalogue import ModelFiles, entries, resolve
from serve_app.config import Settings
from serve_app.core import CatalogueError


async def seeded(registry: AdapterRegistry, settings: Settings) -> RegistryUpkeep:
    """The registry's upkeep, with the settings' adapters brought in. Raises LedgerError.

    Servers elsewhere have adapters of their own, so that of `engine: openai` none is brought in.
    """
    limits = ArtefactLimits(settings.registry.max_adapter_mb * 2**20, settings.specialists.max_adapter_rank)
    sources = {} if settings.specialists.engine == "openai" else settings.adapters
    artefacts = open_artefacts(settings.registry, sources)
    upkeep = RegistryUpkeep(registry, artefacts, sources, limits, settings.registry.retention_days)
    await upkeep.seed(await asyncio.to_thread(_base_here, settings.specialists.model))
    return upkeep


def _base_here(model: str) -> ModelFiles | None:
    """The base, where this node has it and need not hash it whole to say which it is."""
    if model not in entries():
        return None
    try:
        return resolve(model)
    except CatalogueError:
        return None  # engines run on other nodes, and check adapters against it there


class RegistryCalls:
    """The registry's part of the ledger's replica. See `AdapterRegistry` for what each does and raises."""

    _registry: AdapterRegistry
    _trials: CanaryTrials

    async def adapters_snapshot(self) -> RegistrySnapshot:
        """As it is now."""
        return await self._registry.snapshot()

    async def adapters_since(self, revision: int) -> RegistrySnapshot | None:
        """The snapshot, unless its revision is that one."""
        return await self._registry.adapters_since(revision)

    async def adapters_all(self, name: str | None = None) -> tuple[AdapterVersion, ...]:
        """Versions, newest first."""
        return await self._registry.all(name)

    async def adapters_audit(
        self, limit: int, before_revision: int | None = None, name: str | None = None
    ) -> tuple[AuditEntry, ...]:
        """Lines of the audit log, newest first."""
        return await self._registry.audit(limit, before_revision, name)

    async def adapters_add(self, version: AdapterVersion) -> AdapterVersion:
        """A version comes."""
        return await self._registry.add(version)

    async def adapters_canary(self, name: str, version: str, weight: float, actor: str) -> RegistrySnapshot:
        """A version answers a share of the conversations."""
        return await self._registry.canary(name, version, weight, actor)

    async def adapters_promote(self, name: str, version: str | None, actor: str, detail: str = "") -> RegistrySnapshot:
        """A version becomes live; None: the canary."""
        return await self._registry.promote(name, version, actor, detail)

    async def adapters_rollback(
        self, name: str, actor: str, detail: str = "", version: str | None = None
    ) -> RegistrySnapshot:
        """Back to what was before; `version`: only if that one is the canary or live."""
        return await self._registry.rollback(name, actor, detail, version)

    async def adapters_remove(self, name: str, actor: str) -> RegistrySnapshot:
        """All versions retire."""
        return await self._registry.remove(name, actor)

    async def adapters_pin(self, name: str, pinned: bool, actor: str) -> RegistrySnapshot:
        """Whether every engine keeps the adapter resident."""
        return await self._registry.pin(name, pinned, actor)

    async def adapters_evidence(self, records: Sequence[EvidenceRecord]) -> None:
        """Keep what gateways have seen of canaries."""
        await self._trials.take(records)

    async def adapters_canary_report(self, name: str) -> dict[str, Any]:
        """How the canary of a name does, and how those before it did; plain JSON."""
        return await self._trials.report(name)


class RegistryHandle:
    """The same over the ledger's handle. Every method raises LedgerError when the ledger cannot be asked."""

    _handle: DeploymentHandle
    _asked: Callable[[Awaitable[Any]], Awaitable[Any]]

    async def adapters_snapshot(self) -> RegistrySnapshot:
        """As it is now."""
        snapshot: RegistrySnapshot = await self._asked(self._handle.adapters_snapshot.remote())
        return snapshot

    async def adapters_since(self, revision: int) -> RegistrySnapshot | None:
        """The snapshot, unless its revision is that one."""
        snapshot: RegistrySnapshot | None = await self._asked(self._handle.adapters_since.remote(revision))
        return snapshot

    async def adapters_all(self, name: str | None = None) -> tuple[AdapterVersion, ...]:
        """Versions, newest first."""
        versions: Sequence[AdapterVersion] = await self._asked(self._handle.adapters_all.remote(name))
        return tuple(versions)

    async def adapters_audit(
        self, limit: int, before_revision: int | None = None, name: str | None = None
    ) -> tuple[AuditEntry, ...]:
        """Lines of the audit log, newest first."""
        asked = self._handle.adapters_audit.remote(limit, before_revision, name)
        entries: Sequence[AuditEntry] = await self._asked(asked)
        return tuple(entries)

    async def adapters_add(self, version: AdapterVersion) -> AdapterVersion:
        """A version comes."""
        stored: AdapterVersion = await self._asked(self._handle.adapters_add.remote(version))
        return stored

    async def adapters_canary(self, name: str, version: str, weight: float, actor: str) -> RegistrySnapshot:
        """A version answers a share of the conversations."""
        return await self._changed(self._handle.adapters_canary.remote(name, version, weight, actor))

    async def adapters_promote(self, name: str, version: str | None, actor: str, detail: str = "") -> RegistrySnapshot:
        """A version becomes live; None: the canary."""
        return await self._changed(self._handle.adapters_promote.remote(name, version, actor, detail))

    async def adapters_rollback(
        self, name: str, actor: str, detail: str = "", version: str | None = None
    ) -> RegistrySnapshot:
        """Back to what was before; `version`: only if that one is the canary or live."""
        return await self._changed(self._handle.adapters_rollback.remote(name, actor, detail, version))

    async def adapters_remove(self, name: str, actor: str) -> RegistrySnapshot:
        """All versions retire."""
        return await self._changed(self._handle.adapters_remove.remote(name, actor))

    async def adapters_pin(self, name: str, pinned: bool, actor: str) -> RegistrySnapshot:
        """Whether every engine keeps the adapter resident."""
        return await self._changed(self._handle.adapters_pin.remote(name, pinned, actor))

    async def adapters_evidence(self, records: Sequence[EvidenceRecord]) -> None:
        """What a gateway has seen of canaries."""
        await self._asked(self._handle.adapters_evidence.remote(tuple(records)))

    async def adapters_canary_report(self, name: str) -> dict[str, Any]:
        """How the canary of a name does; plain JSON."""
        report: dict[str, Any] = await self._asked(self._handle.adapters_canary_report.remote(name))
        return report

    async def _changed(self, response: Awaitable[Any]) -> RegistrySnapshot:
        snapshot: RegistrySnapshot = await self._asked(response)
        return snapshot
