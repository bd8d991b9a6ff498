"""What the registry does on its own: the settings' adapters come in, their files are published, old files go.

Knows no Ray. A settings' adapter that cannot be read here is left out with a warning: engines read it by themselves, as
they do without a registry.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from serve_app.adapters.folder import content_digest, source_folder, version_of
from serve_app.adapters.registry.artefacts import ArtefactStore
from serve_app.adapters.registry.lifecycle import HELD
from serve_app.adapters.registry.records import AdapterVersion
from serve_app.adapters.registry.registry import SETTINGS_ACTOR, AdapterRegistry
from serve_app.adapters.registry.verifying import ArtefactLimits, verify_artefact
from serve_app.catalogue import ModelFiles
from serve_app.config.nodes import AdapterSource
from serve_app.core import AdapterError, LedgerError

_LOG = logging.getLogger(__name__)
_RETRY_S = 60.0
_TIDY_EVERY_S = 3600.0
_JUST_PUT_S = 3600.0
"""Files that were published less than this ago are not deleted: the version that needs them may not be added yet."""
_BROKEN_OFF_S = 86_400.0
_DAY_S = 86_400.0


class RegistryUpkeep:
    """Beside one registry and its artefact store. For one event loop."""

    def __init__(
        self,
        registry: AdapterRegistry,
        artefacts: ArtefactStore,
        sources: Mapping[str, AdapterSource],
        limits: ArtefactLimits,
        retention_days: int | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`sources`: the settings' adapters. `clock`: seconds since the epoch."""
        self._registry, self._artefacts, self._sources = registry, artefacts, sources
        self._limits, self._retention_days, self._clock = limits, retention_days, clock
        self._to_publish: dict[str, Path] = {}

    async def seed(self, base: ModelFiles | None) -> None:
        """Bring the settings' adapters in; what is known already is only read for its digest. Raises LedgerError.

        `base`: of the specialists, where it lies on this node, else the engines' own check has to do.
        """
        known = {(one.name, one.version) for one in await self._registry.all()}
        folders, new = await asyncio.to_thread(self._read, known, base)
        await self._registry.seed(new)
        needed = {(one.name, one.version) for one in await self._registry.all() if one.state in HELD}
        self._to_publish = {name: folder for (name, version), folder in folders.items() if (name, version) in needed}

    async def run(self) -> None:
        """Publish what is not published yet, and delete what is past its retention, until this is cancelled."""
        tidied_at_s: float | None = None
        while True:
            await self.publish()
            if tidied_at_s is None or self._clock() - tidied_at_s >= _TIDY_EVERY_S:
                await self.tidy()
                tidied_at_s = self._clock()
            await asyncio.sleep(_RETRY_S)

    async def publish(self) -> None:
        """Put the settings' adapters into the artefact store: other nodes, and later settings, may need these bytes."""
        for name, folder in list(self._to_publish.items()):
            try:
                await self._artefacts.put(folder)
            except AdapterError as error:
                _LOG.warning("The files of adapter %s are not in the artefact store yet: %s", name, error)
            else:
                del self._to_publish[name]

    async def tidy(self) -> None:
        """Delete the files of versions that retired long ago, and what broken-off publications left."""
        try:
            if self._retention_days is not None:
                for digest in await self._registry.release(self._clock() - self._retention_days * _DAY_S):
                    if await self._artefacts.delete(digest, _JUST_PUT_S):
                        await self._registry.released(digest)
            await self._artefacts.sweep(_BROKEN_OFF_S)
        except (AdapterError, LedgerError) as error:
            _LOG.warning("Files of old adapter versions are not deleted yet: %s", error)

    def _read(
        self, known: set[tuple[str, str]], base: ModelFiles | None
    ) -> tuple[dict[tuple[str, str], Path], list[AdapterVersion]]:
        """The folders of the settings by name and version, and what is not known yet. Reads files whole."""
        folders, new = {}, []
        for name, source in self._sources.items():
            try:
                folder = source_folder(source)
                if not folder.is_dir():
                    raise AdapterError(f"{folder} is no folder on this node.")
                version = version_of(content_digest(folder))
                if (name, version) not in known:
                    new.append(self._checked(folder, name, source, base))
                folders[name, version] = folder
            except (AdapterError, OSError) as error:
                _LOG.warning("Adapter %s of the settings is not in the registry: %s", name, error)
        return folders, new

    def _checked(self, folder: Path, name: str, source: AdapterSource, base: ModelFiles | None) -> AdapterVersion:
        limits = ArtefactLimits(self._limits.max_bytes, self._limits.max_rank, source.base_override)
        told = source.path if source.path.startswith("shipped:") else "settings"
        found = verify_artefact(folder, name, base, limits, told, SETTINGS_ACTOR, self._clock)
        if found.state == "rejected":
            raise AdapterError(str(found.report["reason"]))
        return found
