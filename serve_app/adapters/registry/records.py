"""What the registry says: versions as they are stored, and the snapshot that gateways and engines follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

VersionState = Literal["verified", "staged", "canary", "live", "retired", "rejected"]
"""See the package. Engines hold what is staged, canary or live; gateways send traffic to canary and live."""


@dataclass(frozen=True, slots=True)
class AdapterVersion:
    """One version of one adapter, as stored."""

    name: str
    version: str
    """First 12 hex digits of `digest`."""
    digest: str
    """sha256 over the adapter's files (`adapters.content_digest`); also its place in the artefact store."""
    state: VersionState
    source: str
    """Where it came from: a URI, `upload`, `settings` or `distill:RUN`; for people."""
    rank: int
    size_bytes: int
    base_verified: bool
    """Whether its manifest names the digest of the base that serves it."""
    created_at_s: float
    """Seconds since the epoch."""
    created_by: str
    """Name of the API key, or `settings`."""
    report: Mapping[str, Any] = field(default_factory=dict)
    """What verification, smoke generation and gates found; plain JSON."""
    base_override: bool = False


@dataclass(frozen=True, slots=True)
class ServedVersion:
    """A version that engines hold."""

    version: str
    digest: str
    base_override: bool = False


@dataclass(frozen=True, slots=True)
class ServedAdapter:
    """One name and its versions, as engines and gateways need it."""

    name: str
    live: str | None
    """Version that the name stands for; None: nobody may ask for it yet."""
    canary: str | None = None
    canary_weight: float = 0.0
    """Share of the name's conversations that the canary answers, 0 to 1."""
    pinned: bool = False
    """Always resident in every engine."""
    versions: tuple[ServedVersion, ...] = ()
    """Staged, canary and live ones."""


@dataclass(frozen=True, slots=True)
class RegistrySnapshot:
    """All of it at one revision."""

    revision: int = 0
    """Rises by one with every change."""
    adapters: tuple[ServedAdapter, ...] = ()


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line of who changed what."""

    revision: int
    at_s: float
    """Seconds since the epoch."""
    actor: str
    """Name of the API key, `settings`, or `canary` for the automatic rule."""
    action: str
    """`add`, `reject`, `stage`, `canary`, `promote`, `rollback`, `remove`, `pin`, `unpin`."""
    name: str
    version: str | None = None
    detail: str = ""


class RegistrySource(Protocol):
    """Whoever tells of changes: the ledger's deployment."""

    async def adapters_since(self, revision: int) -> RegistrySnapshot | None:
        """The snapshot where it is newer than `revision` (-1: in any case), else None. Raises LedgerError."""
        ...
