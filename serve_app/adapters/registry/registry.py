"""The registry over the ledger's database: each change is one transaction, one revision and one audit line."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection

from serve_app.adapters.folder import version_of
from serve_app.adapters.registry import lifecycle, rows
from serve_app.adapters.registry.lifecycle import Adapter, Moment, Step
from serve_app.adapters.registry.records import AdapterVersion, AuditEntry, RegistrySnapshot
from serve_app.adapters.spec import check_name
from serve_app.core import AdapterError, RequestError
from serve_app.store import Store
from serve_app.store.faults import store_faults

T = TypeVar("T")

SETTINGS_ACTOR = "settings"
_MAX_AUDIT_LINES = 1000
_MAX_REPORT_BYTES = 256 * 1024
_DIGEST_DIGITS = 64


class AdapterRegistry:
    """A `RegistrySource` that also makes the changes. Over an open store; used from one event loop.

    What cannot be done raises RequestError, with code `conflict` where the state of a version forbids it, and
    ModelNotFound for an unknown name or version. Every method raises LedgerError while the database is away; a change
    is then made whole or not at all, and may be asked for again.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        """`clock`: seconds since the epoch."""
        self._store, self._clock = store, clock

    async def snapshot(self) -> RegistrySnapshot:
        """As it is now."""
        return await self._run(self._store.read, rows.snapshot)

    async def adapters_since(self, revision: int) -> RegistrySnapshot | None:
        """See `RegistrySource`. A lower revision than `revision` counts as news too: the database was restored."""

        def work(connection: Connection) -> RegistrySnapshot | None:
            return None if rows.revision(connection) == revision else rows.snapshot(connection)

        return await self._run(self._store.read, work)

    async def all(self, name: str | None = None) -> tuple[AdapterVersion, ...]:
        """All versions of a name, or of all names, newest first; an unknown name has none."""
        adapters = await self._run(self._store.read, lambda connection: rows.read(connection, name))
        stored = [one for adapter in adapters for one in adapter.versions]
        stored.sort(key=lambda one: one.added_revision, reverse=True)
        return tuple(one.version for one in stored)

    async def audit(
        self, limit: int, before_revision: int | None = None, name: str | None = None
    ) -> tuple[AuditEntry, ...]:
        """The newest `limit` lines of the audit log, or those before a revision, newest first."""
        if not 1 <= limit <= _MAX_AUDIT_LINES:
            raise RequestError(f"limit is {limit}; it must be from 1 to {_MAX_AUDIT_LINES}.", "limit")
        return await self._run(
            self._store.read, lambda connection: rows.audit(connection, limit, before_revision, name)
        )

    async def add(self, version: AdapterVersion) -> AdapterVersion:
        """A version comes, verified, staged or rejected; returns it as it is stored.

        The same digest again changes nothing while the version is staged, canary or live. A verified one is staged, a
        retired or rejected one may come again.
        """
        _check(version)

        def work(connection: Connection) -> Adapter:
            return self._apply(
                connection, version.name, version.created_by, lambda adapter, at: lifecycle.add(adapter, version, at)
            )

        after: Adapter = await self._run(self._store.write, work)
        return next(one.version for one in after.versions if one.version.version == version.version)

    async def canary(self, name: str, version: str, weight: float, actor: str) -> RegistrySnapshot:
        """A staged version answers a share of the name's conversations, from 0 to 1; or the canary's share changes."""
        return await self._changed(
            name, actor, lambda adapter, moment: lifecycle.canary(adapter, version, weight, moment)
        )

    async def promote(self, name: str, version: str | None, actor: str, detail: str = "") -> RegistrySnapshot:
        """A version becomes live, and the live one retires; None: the canary."""
        return await self._changed(
            name, actor, lambda adapter, moment: lifecycle.promote(adapter, version, moment, detail)
        )

    async def rollback(self, name: str, actor: str, detail: str = "", version: str | None = None) -> RegistrySnapshot:
        """The canary is withdrawn; without one the version before the live one is live again.

        `version`: the one that shall go. Where it went before, nothing changes: give it where a call may be repeated.
        """
        return await self._changed(
            name, actor, lambda adapter, moment: lifecycle.rollback(adapter, moment, detail, version)
        )

    async def remove(self, name: str, actor: str) -> RegistrySnapshot:
        """All versions retire, and nobody may ask for the name any more."""
        return await self._changed(name, actor, lifecycle.remove)

    async def pin(self, name: str, pinned: bool, actor: str) -> RegistrySnapshot:
        """Whether every engine keeps the adapter resident."""
        return await self._changed(name, actor, lambda adapter, moment: lifecycle.pin(adapter, pinned, moment))

    async def seed(self, versions: Sequence[AdapterVersion]) -> None:
        """The settings' adapters: a digest seen for the first time under its name is live, others change nothing.

        So what was promoted, rolled back or removed later stays so when the ledger starts again.
        """
        for version in versions:
            _check(version)

        def work(connection: Connection) -> None:
            rows.locked_revision(connection)
            for version in versions:
                adapter = rows.read(connection, version.name)[0]
                if adapter.find(version.version) is None:
                    self._apply(connection, version.name, SETTINGS_ACTOR, partial(_staged, version))
                    self._apply(connection, version.name, SETTINGS_ACTOR, partial(_promoted, version))

        await self._run(self._store.write, work)

    async def release(self, retired_before_s: float) -> tuple[str, ...]:
        """Digests whose files may be deleted: of versions rejected or retired before then, and what earlier calls told.

        From now on these cannot be promoted or gone back to, only added again. `released` says that they are gone.
        """

        def work(connection: Connection) -> tuple[str, ...]:
            rows.locked_revision(connection)
            rows.mark(connection, lifecycle.expired(rows.read(connection), retired_before_s), "leaving", where="kept")
            return rows.leaving(connection)

        return await self._run(self._store.write, work)

    async def released(self, digest: str) -> None:
        """The files of that digest are deleted."""
        await self._run(self._store.write, lambda connection: rows.mark(connection, (digest,), "gone", where="leaving"))

    async def _changed(self, name: str, actor: str, act: Callable[[Adapter, Moment], Step | None]) -> RegistrySnapshot:
        """The whole registry after the change."""

        def work(connection: Connection) -> RegistrySnapshot:
            self._apply(connection, name, actor, act)
            return rows.snapshot(connection)

        return await self._run(self._store.write, work)

    def _apply(
        self, connection: Connection, name: str, actor: str, act: Callable[[Adapter, Moment], Step | None]
    ) -> Adapter:
        moment = Moment(rows.locked_revision(connection) + 1, self._clock(), actor)
        before = rows.read(connection, name)[0]
        step = act(before, moment)
        if step is None:
            return before
        rows.write(connection, before, step)
        return step.adapter

    async def _run(self, run: Callable[[Callable[[Connection], T]], Any], work: Callable[[Connection], T]) -> T:
        with store_faults():
            result: T = await run(work)
        return result


def _check(version: AdapterVersion) -> None:
    """Raises RequestError for a name that no adapter may have, a version that is not its digest's, or a bad report."""
    try:
        check_name(version.name)
    except AdapterError as error:
        raise RequestError(str(error), "name") from error
    if len(version.digest) != _DIGEST_DIGITS or version.version != version_of(version.digest):
        raise RequestError(
            f"{version.version!r} is not the beginning of a sha256 digest; add it by its files.", "version"
        )
    try:
        num_bytes = len(json.dumps(version.report, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise RequestError(f"The report of {version.name!r} is no plain JSON: {error}.", "report") from error
    if num_bytes > _MAX_REPORT_BYTES:
        raise RequestError(f"The report of {version.name!r} is over {_MAX_REPORT_BYTES} bytes; shorten it.", "report")


def _staged(version: AdapterVersion, adapter: Adapter, moment: Moment) -> Step | None:
    return lifecycle.add(adapter, replace(version, state="staged"), moment)


def _promoted(version: AdapterVersion, adapter: Adapter, moment: Moment) -> Step | None:
    return lifecycle.promote(adapter, version.version, moment)
