"""The adapters a running graph serves: versions, their states, who changed what. Knows no engine, no HTTP and no Ray.

    verified ──stage──▶ staged ──canary──▶ canary ──promote──▶ live ──(the next one is promoted, or removed)──▶ retired
        └──(a check failed)──▶ rejected        └──rollback──▶ retired          ▲──────rollback or promote───────────┘

A version is named by the digest of its files and never changes. Of a name at most one version is live and at most one a
canary. Every change is one transaction, raises the registry's revision by one and leaves one line in the audit log.
A staged version may be promoted at once; a retired or rejected one may be added again, and `remove` retires them all.

records.py     what it says to others              lifecycle.py   the arrows above, as functions
registry.py    the changes, in the database, with tables.py and rows.py; kept.py for a start without it
sources.py     where files come from               verifying.py   what is found out about them
artefacts.py   where they are kept, with files.py  cache.py       copies on a node
upkeep.py      the settings' adapters, old files   routing.py     which router answers, and its labels' adapters
"""

from typing import TYPE_CHECKING, Any

from serve_app.adapters.registry.records import (
    AdapterVersion,
    AuditEntry,
    RegistrySnapshot,
    RegistrySource,
    ServedAdapter,
    ServedVersion,
    VersionState,
)

if TYPE_CHECKING:
    from serve_app.adapters.registry.registry import AdapterRegistry

__all__ = [
    "AdapterRegistry",
    "AdapterVersion",
    "AuditEntry",
    "RegistrySnapshot",
    "RegistrySource",
    "ServedAdapter",
    "ServedVersion",
    "VersionState",
]


def __getattr__(name: str) -> Any:
    """The registry itself when it is asked for: an engine's environment may be without SQLAlchemy."""
    if name == "AdapterRegistry":
        from serve_app.adapters.registry.registry import AdapterRegistry

        return AdapterRegistry
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
