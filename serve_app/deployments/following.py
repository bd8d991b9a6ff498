"""An engine replica's part in the adapter registry: it follows what the ledger says, and tries versions out."""

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ray.serve.handle import DeploymentHandle

from serve_app.adapters.registry import RegistrySnapshot
from serve_app.adapters.registry.artefacts import ArtefactStore, open_artefacts
from serve_app.adapters.registry.kept import KeptSnapshot
from serve_app.catalogue import cache_dir
from serve_app.config.nodes import AdapterSource
from serve_app.config.registry import RegistrySettings
from serve_app.core import Call, DataError, LedgerError
from serve_app.deployments.results import result
from serve_app.engines.following import AdapterFollower, Timing
from serve_app.engines.trial import VersionedEngine, trial
from serve_app.telemetry import instruments as its
from serve_app.telemetry.instruments import Reading

_LOG = logging.getLogger("ray.serve")
_LEDGER_WITHIN_S = 5.0
"""So long a new replica waits for the ledger, which may be starting too, before it starts from what its node kept."""
_FIND_WITHIN_S = 20.0
"""So long a call waits for a version that its replica has not yet: longer than a ledger takes to come back."""


@dataclass(frozen=True, slots=True)
class Following:
    """What a replica has to know to follow a registry."""

    registry: RegistrySettings
    database: str
    """Tells its copy of this registry's snapshot from those of others."""


class LedgerRegistry:
    """A `RegistrySource` over the ledger's handle: no more of the ledger than an engine's environment can import."""

    def __init__(self, ledger: DeploymentHandle) -> None:
        self._ledger = ledger

    async def adapters_since(self, revision: int) -> RegistrySnapshot | None:
        """See `RegistrySource`."""
        asked = self._ledger.adapters_since.remote(revision)
        snapshot: RegistrySnapshot | None = await result(asked, "ledger", LedgerError)
        return snapshot


class Followed:
    """The adapters of one replica's engine."""

    def __init__(
        self,
        engine: VersionedEngine,
        ledger: DeploymentHandle,
        following: Following,
        adapters: Mapping[str, AdapterSource],
    ) -> None:
        """`adapters`: those of the settings, which the engine has started with."""
        self._engine = engine
        self._artefacts: ArtefactStore = open_artefacts(following.registry, adapters)
        self._kept = KeptSnapshot(cache_dir() / "registry" / f"{following.database}.json")
        self._timing = Timing(follow_s=following.registry.follow_s, grace_s=following.registry.drop_after_s)
        self._registry = LedgerRegistry(ledger)
        self.follower: AdapterFollower

    async def begin(self) -> None:
        """Return when the engine serves what the registry has; see `AdapterFollower.begin`."""
        live = (await self._engine.info()).adapters
        self.follower = AdapterFollower(
            self._engine, self._registry, self._artefacts, live, self._kept.save, self._timing
        )
        await self.follower.begin(self._load_kept, _LEDGER_WITHIN_S)

    async def found(self, call: Call) -> Call:
        """The call, once its adapter is here, with what is left of its time; one that nobody has is left to the engine.

        Raises EngineError where the registry has it and this replica cannot load it.
        """
        if call.adapter is None or self.follower.serves(call.adapter, call.adapter_version):
            return call
        began_s = time.monotonic()
        within_s = _FIND_WITHIN_S if call.timeout_s is None else min(_FIND_WITHIN_S, call.timeout_s)
        await self.follower.find(call.adapter, call.adapter_version, within_s)
        if call.timeout_s is None:
            return call
        return replace(call, timeout_s=max(0.0, call.timeout_s - (time.monotonic() - began_s)))

    def readings(self) -> Iterator[Reading]:
        """See `telemetry.instruments.Instrumented`."""
        state = self.follower.state
        yield Reading(its.ENGINE_ADAPTER_REVISION, state.revision)
        yield Reading(its.ENGINE_ADAPTERS_FAILED, len(state.failed))

    async def trial(self, digest: str, base_override: bool) -> dict[str, Any]:
        """See `engines.trial`. Raises AdapterError, also where the files cannot be had."""
        return await trial(self._engine, await self._artefacts.fetch(digest), base_override)

    def _load_kept(self) -> RegistrySnapshot | None:
        try:
            kept = self._kept.load()
        except (DataError, OSError) as error:
            _LOG.warning("adapters: the snapshot that this node kept is of no use: %s", error)
            return None
        return kept.snapshot if kept else None
