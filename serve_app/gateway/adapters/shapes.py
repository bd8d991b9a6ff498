"""What /v1/adapters answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from serve_app.adapters.registry import AdapterVersion, AuditEntry, RegistrySnapshot


def version_object(version: AdapterVersion) -> dict[str, Any]:
    """One version, whole."""
    return {
        "object": "adapter.version",
        "name": version.name,
        "version": version.version,
        "state": version.state,
        "digest": version.digest,
        "source": version.source,
        "rank": version.rank,
        "size_bytes": version.size_bytes,
        "base_verified": version.base_verified,
        "base_override": version.base_override,
        "created_at": version.created_at_s,
        "created_by": version.created_by,
        "report": dict(version.report),
    }


def adapter_objects(snapshot: RegistrySnapshot, versions: Iterable[AdapterVersion]) -> list[dict[str, Any]]:
    """All names that have a version, in their order; `versions` of any names, newest first."""
    by_name: dict[str, list[AdapterVersion]] = defaultdict(list)
    for version in versions:
        by_name[version.name].append(version)
    return [adapter_object(name, snapshot, by_name[name]) for name in sorted(by_name)]


def adapter_object(name: str, snapshot: RegistrySnapshot, versions: Sequence[AdapterVersion]) -> dict[str, Any]:
    """One name: what answers for it, and all its versions in short, newest first."""
    served = next((one for one in snapshot.adapters if one.name == name), None)
    return {
        "object": "adapter",
        "name": name,
        "live": served.live if served else None,
        "canary": served.canary if served else None,
        "canary_weight": served.canary_weight if served else 0.0,
        "pinned": bool(served and served.pinned),
        "revision": snapshot.revision,
        "versions": [{"version": one.version, "state": one.state, "source": one.source} for one in versions],
    }


def audit_object(entry: AuditEntry) -> dict[str, Any]:
    """One line of who changed what."""
    return {
        "revision": entry.revision,
        "at": entry.at_s,
        "actor": entry.actor,
        "action": entry.action,
        "name": entry.name,
        "version": entry.version,
        "detail": entry.detail,
    }
