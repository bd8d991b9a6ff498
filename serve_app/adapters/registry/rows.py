"""The registry's rows: names read and written whole, inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from sqlalchemy import Connection, Row, Select, Table, insert, select, update

from serve_app.adapters.registry.lifecycle import HELD, Adapter, Step, StoredVersion, served
from serve_app.adapters.registry.records import AdapterVersion, AuditEntry, RegistrySnapshot
from serve_app.adapters.registry.tables import adapter_audit, adapter_names, adapter_revision, adapter_versions
from serve_app.store import insert_into

_VERSION = tuple(field.name for field in fields(AdapterVersion))
_STORED = tuple(field.name for field in fields(StoredVersion) if field.name != "version")
_AUDIT = tuple(adapter_audit.c[field.name] for field in fields(AuditEntry))


def revision(connection: Connection) -> int:
    """The registry's revision."""
    return int(connection.execute(select(adapter_revision.c.revision)).scalar_one())


def locked_revision(connection: Connection) -> int:
    """The revision, which nobody else changes before this transaction ends."""
    return int(connection.execute(select(adapter_revision.c.revision).with_for_update()).scalar_one())


def read(connection: Connection, name: str | None = None) -> tuple[Adapter, ...]:
    """The adapter of that name, or all by name; a name that is not known has no versions."""
    names, versions = select(adapter_names), select(adapter_versions)
    if name is not None:
        names, versions = names.where(adapter_names.c.name == name), versions.where(adapter_versions.c.name == name)
    held = _by_name(connection, versions)
    kept = {row.name: row for row in connection.execute(names)}
    known = sorted(held) if name is None else [name]
    return tuple(_adapter(each, held.get(each, []), kept.get(each)) for each in known)


def snapshot(connection: Connection) -> RegistrySnapshot:
    """All of it. A name that has only rejected versions is not in it; one that was removed is, with no version."""
    columns = [column for column in adapter_versions.c if column.name != "report"]  # nobody who follows reads reports
    held = _by_name(connection, select(*columns).where(adapter_versions.c.state.in_(HELD)))
    names = connection.execute(select(adapter_names).order_by(adapter_names.c.name))
    adapters = tuple(served(_adapter(row.name, held.get(row.name, []), row)) for row in names)
    return RegistrySnapshot(revision(connection), adapters)


def write(connection: Connection, before: Adapter, step: Step) -> None:
    """Store what a step changed, its line in the audit log and the new revision."""
    changed = [one for one in step.adapter.versions if one not in before.versions]
    # One version is live and one a canary at any moment: who leaves goes before who comes.
    for stored in sorted(changed, key=lambda one: (one.state == "live", one.state == "canary")):
        _put(connection, adapter_versions, _version_row(stored))
    if any(one.state != "rejected" for one in step.adapter.versions):
        row = {"name": step.adapter.name, "canary_weight": step.adapter.canary_weight, "pinned": step.adapter.pinned}
        _put(connection, adapter_names, row)
    entry = step.entry
    connection.execute(insert(adapter_audit).values({column.name: getattr(entry, column.name) for column in _AUDIT}))
    connection.execute(update(adapter_revision).values(revision=entry.revision))


def audit(connection: Connection, limit: int, before_revision: int | None, name: str | None) -> tuple[AuditEntry, ...]:
    """Lines of the audit log, newest first."""
    lines = select(*_AUDIT).order_by(adapter_audit.c.revision.desc()).limit(limit)
    if before_revision is not None:
        lines = lines.where(adapter_audit.c.revision < before_revision)
    if name is not None:
        lines = lines.where(adapter_audit.c.name == name)
    return tuple(AuditEntry(*row) for row in connection.execute(lines))


def mark(connection: Connection, digests: Iterable[str], files: str, where: str) -> None:
    """Say of these digests' files that they are in another state, where they are in state `where` now."""
    table = adapter_versions
    connection.execute(
        update(table).where(table.c.digest.in_(sorted(digests)), table.c.files == where).values(files=files)
    )


def leaving(connection: Connection) -> tuple[str, ...]:
    """Digests whose files are being deleted, and that no version counts on."""
    table = adapter_versions
    kept = select(table.c.digest).where(table.c.files == "kept")
    gone = select(table.c.digest).where(table.c.files == "leaving", table.c.digest.not_in(kept)).distinct()
    return tuple(sorted(connection.execute(gone).scalars()))


def _by_name(connection: Connection, versions: Select[Any]) -> dict[str, list[StoredVersion]]:
    """Oldest first."""
    found: dict[str, list[StoredVersion]] = {}
    for row in connection.execute(versions.order_by(adapter_versions.c.added_revision)):
        found.setdefault(row.name, []).append(_stored(row))
    return found


def _adapter(name: str, versions: list[StoredVersion], row: Row[Any] | None) -> Adapter:
    if row is None:
        return Adapter(name, tuple(versions))
    return Adapter(name, tuple(versions), row.canary_weight, row.pinned)


def _stored(row: Row[Any]) -> StoredVersion:
    of_row = row._mapping
    version = AdapterVersion(**{name: of_row[name] for name in _VERSION if name in of_row})
    return StoredVersion(version, **{name: of_row[name] for name in _STORED})


def _version_row(stored: StoredVersion) -> dict[str, Any]:
    version = stored.version
    return {name: getattr(version, name) for name in _VERSION} | {name: getattr(stored, name) for name in _STORED}


def _put(connection: Connection, table: Table, row: dict[str, Any]) -> None:
    """Insert a row, or put it in the place of the one with its key."""
    keys = [column.name for column in table.primary_key]
    statement = insert_into(connection, table).values(row)
    rest = {name: statement.excluded[name] for name in row if name not in keys}
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=rest))
