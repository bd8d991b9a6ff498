"""From files to a version that engines hold: check, note down, publish, try, stage.

1. The files are fetched into a folder of their own, and checked without an engine. What fails is noted as rejected.
2. The version is noted as verified, and its files go to the artefact store.
3. One engine loads it and answers; what fails is noted as rejected, and its files leave the store.
4. It is staged: engines fetch it. Then it becomes live, or a canary, where that was asked for.

Whatever ends a publication between two steps leaves the registry as it was, or with a verified version, which nobody
serves; the same request again goes on from there, for each step is known by the digest of the files.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from serve_app.adapters.registry import AdapterVersion, AuditEntry, RegistrySnapshot
from serve_app.adapters.registry.records import RegistrySource
from serve_app.adapters.registry.sources import fetch_source
from serve_app.adapters.registry.verifying import ArtefactLimits, verify_artefact
from serve_app.core import AdapterError, RequestError
from serve_app.gateway.errors import PublishTimeout, StoreAway

_LOG = logging.getLogger(__name__)

PUBLISH_TIMEOUT_S = 300.0
"""How long all steps may take together."""


class RegistryNode(RegistrySource, Protocol):
    """The registry, over the ledger's deployment: see `AdapterRegistry` for what each does and raises."""

    async def adapters_all(self, name: str | None = None) -> tuple[AdapterVersion, ...]:
        """Versions, newest first."""
        ...

    async def adapters_audit(
        self, limit: int, before_revision: int | None = None, name: str | None = None
    ) -> tuple[AuditEntry, ...]:
        """Lines of the audit log, newest first."""
        ...

    async def adapters_add(self, version: AdapterVersion) -> AdapterVersion:
        """A version comes."""
        ...

    async def adapters_canary(self, name: str, version: str, weight: float, actor: str) -> RegistrySnapshot:
        """A version answers a share of the conversations."""
        ...

    async def adapters_promote(self, name: str, version: str | None, actor: str, detail: str = "") -> RegistrySnapshot:
        """A version becomes live; None: the canary."""
        ...

    async def adapters_rollback(
        self, name: str, actor: str, detail: str = "", version: str | None = None
    ) -> RegistrySnapshot:
        """Back to what was before; `version`: only if that one is the canary or live."""
        ...

    async def adapters_remove(self, name: str, actor: str) -> RegistrySnapshot:
        """All versions retire."""
        ...

    async def adapters_pin(self, name: str, pinned: bool, actor: str) -> RegistrySnapshot:
        """Whether every engine keeps the adapter resident."""
        ...

    async def adapters_canary_report(self, name: str) -> dict[str, Any]:
        """How its canary does, and how those before it did; plain JSON. See `CanaryTrials`."""
        ...


class Artefacts(Protocol):
    """The artefact store. Every method raises AdapterError while it is away."""

    async def put(self, folder: Path) -> str:
        """Publish a folder's files; returns their digest."""
        ...

    async def holds(self, digest: str) -> bool:
        """Whether the files with this digest are there, whole."""
        ...

    async def delete(self, digest: str) -> bool:
        """Delete what is stored under a digest."""
        ...


class AdapterTrial(Protocol):
    """One engine that tries an adapter before anybody asks for it."""

    async def trial(self, digest: str, base_override: bool) -> Mapping[str, Any]:
        """Load the files from the artefact store, answer a fixed prompt, and report; plain JSON.

        Of the report are read: `error`, a sentence or null; `finite`, whether all log-probabilities are; `text`; and
        `base_verified`. Raises AdapterError where the engine cannot hold the files or cannot have them, EngineError
        where none can try it now.
        """
        ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """What shall become of a folder's files."""

    name: str
    source: str | None
    """Where the files are; None: they are in the folder already."""
    actor: str
    base_override: bool = False
    live: bool = False
    canary: float | None = None
    pin: bool = False
    told_source: str = "upload"
    """What people are told of files that came by themselves."""


class Publisher:
    """Takes versions in. For one event loop. A publication that has begun goes on when its caller is cancelled."""

    def __init__(
        self,
        registry: RegistryNode,
        artefacts: Artefacts,
        trial: AdapterTrial,
        max_bytes: int,
        max_rank: int,
        timeout_s: float = PUBLISH_TIMEOUT_S,
    ) -> None:
        """`max_bytes`: of the files together; `max_rank`: the highest that engines have room for."""
        self.max_bytes, self._max_rank, self._timeout_s = max_bytes, max_rank, timeout_s
        self._registry, self._artefacts, self._trial = registry, artefacts, trial
        self._one_at_a_time = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def publish(self, folder: Path, wanted: Wanted) -> AdapterVersion:
        """The version as it is stored in the end. The folder, which nobody else uses, is deleted then.

        Raises RequestError saying why it was refused, or that it conflicts; StoreAway, EngineError, LedgerError and
        PublishTimeout where the same call may be made again.
        """
        task = asyncio.get_running_loop().create_task(self._bounded(folder, wanted))
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Break off what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            _LOG.info("A publication ended: %s", error)

    async def _bounded(self, folder: Path, wanted: Wanted) -> AdapterVersion:
        try:
            async with asyncio.timeout(self._timeout_s) as bound, self._one_at_a_time:
                return await self._publish(folder, wanted)
        except TimeoutError:
            if not bound.expired():
                raise
            raise PublishTimeout(
                f"The adapter was not published within {self._timeout_s:g} s; send the same request again."
            ) from None
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)  # 512 MiB take a tenth of a second

    async def _publish(self, folder: Path, wanted: Wanted) -> AdapterVersion:
        if wanted.source is not None:
            try:
                await fetch_source(wanted.source, folder, self.max_bytes)
            except AdapterError as error:
                raise RequestError(str(error), "source", "source_unusable") from error
        version = await self._checked(folder, wanted)
        version = await self._registry.adapters_add(version)
        if version.state == "rejected":
            raise _refused(version)
        if version.state == "verified":
            version = await self._tried(folder, version)
        return await self._staged(version, wanted)

    async def _checked(self, folder: Path, wanted: Wanted) -> AdapterVersion:
        limits = ArtefactLimits(self.max_bytes, self._max_rank, wanted.base_override)
        try:
            return await asyncio.to_thread(
                verify_artefact,
                folder,
                wanted.name,
                None,
                limits,
                wanted.source or wanted.told_source,
                wanted.actor,
            )
        except AdapterError as error:
            raise RequestError(str(error), "name", "invalid_value") from error

    async def _tried(self, folder: Path, version: AdapterVersion) -> AdapterVersion:
        try:
            await self._artefacts.put(folder)
        except AdapterError as error:
            raise StoreAway(f"The artefact store does not take the files: {error}") from error
        report: Mapping[str, Any] = {}
        try:
            report = await self._trial.trial(version.digest, version.base_override)
            reason = _failure(report)
        except AdapterError as error:
            await self._still_there(version.digest)
            reason = str(error)
        if reason is not None:
            found = {**version.report, "trial": dict(report), "reason": reason}
            stored = await self._registry.adapters_add(replace(version, state="rejected", report=found))
            await self._forget(version.digest)
            raise _refused(stored)
        return await self._registry.adapters_add(
            replace(
                version,
                state="staged",
                base_verified=bool(report.get("base_verified", version.base_verified)),
                report={**version.report, "trial": dict(report)},
            )
        )

    async def _still_there(self, digest: str) -> None:
        """Raises StoreAway where an engine could not have the files: that is no fault of theirs."""
        try:
            if await self._artefacts.holds(digest):
                return
        except AdapterError as error:
            raise StoreAway(f"The artefact store does not give the files: {error}") from error
        raise StoreAway("The artefact store has lost the files; send the same request again.")

    async def _forget(self, digest: str) -> None:
        """Delete the files of a rejected version, unless another name has them."""
        others: Sequence[AdapterVersion] = await self._registry.adapters_all()
        if any(one.digest == digest and one.state != "rejected" for one in others):
            return
        try:
            await self._artefacts.delete(digest)
        except AdapterError as error:
            _LOG.warning("The files of a rejected adapter stay in the artefact store: %s", error)

    async def _staged(self, version: AdapterVersion, wanted: Wanted) -> AdapterVersion:
        """Do with a version that engines hold what was asked for."""
        name, actor = version.name, wanted.actor
        if wanted.live:
            await self._registry.adapters_promote(name, version.version, actor)
        elif wanted.canary is not None:
            await self._registry.adapters_canary(name, version.version, wanted.canary, actor)
        if wanted.pin:
            await self._registry.adapters_pin(name, True, actor)
        stored = await self._registry.adapters_all(name)
        return next(one for one in stored if one.version == version.version)


def _failure(report: Mapping[str, Any]) -> str | None:
    """Why a version did not pass its trial."""
    if report.get("error"):
        return f"The adapter failed its trial: {report['error']}"
    if not report.get("finite"):
        return "The adapter's answer has log-probabilities that are not finite; train it again."
    if not str(report.get("text", "")).strip():
        return "The adapter answered its trial with no text; train it again."
    return None


def _refused(version: AdapterVersion) -> RequestError:
    reason = str(version.report.get("reason", "The adapter was rejected before; its report says why."))
    return RequestError(reason, "source", "adapter_rejected")
