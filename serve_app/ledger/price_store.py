"""The price versions that bills were made with, kept in the ledger's database: a version never changes its figures."""

import json
import time
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, insert, select

from serve_app.core import ConfigError
from serve_app.ledger.price_version import PriceVersion
from serve_app.ledger.tables import price_versions
from serve_app.store import Store
from serve_app.store.faults import store_faults


class PriceVersions:
    """Over an open store. Used from one event loop."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def keep(self, versions: Iterable[PriceVersion]) -> None:
        """Store those that are new. Raises ConfigError, and stores none, when one is known with other figures.

        Raises LedgerError when the database cannot be used.
        """
        wanted = tuple(versions)
        with store_faults():
            await self._store.write(lambda connection: _keep(connection, wanted))

    async def all(self) -> list[dict[str, Any]]:
        """Every stored version as its document, with `digest` and `stored_at_s`, earliest first. Raises LedgerError."""
        with store_faults():
            return await self._store.read(_all)


def _keep(connection: Connection, versions: tuple[PriceVersion, ...]) -> None:
    new = []
    for version in versions:
        found = connection.execute(
            select(price_versions.c.digest, price_versions.c.document).where(
                price_versions.c.version == version.version
            )
        ).one_or_none()
        if found is None:
            new.append(_row(version))
        elif found.digest != version.digest:
            raise ConfigError(
                f"prices.version {version.version!r} is in the ledger with other figures "
                f"({_difference(json.loads(found.document), version.document())}): give the new prices a new name, or "
                "announce them under prices.changes."
            )
    if new:
        connection.execute(insert(price_versions), new)


def _row(version: PriceVersion) -> dict[str, Any]:
    return {
        "version": version.version,
        "effective_from_s": version.effective_from_s,
        "digest": version.digest,
        "document": json.dumps(version.document(), sort_keys=True),
        "stored_at_s": time.time(),
    }


def _difference(stored: dict[str, Any], new: dict[str, Any]) -> str:
    """Which keys differ, as people write them.

    >>> _difference({"models": {"a": {"x": "1"}, "b": {}}, "flex_factor": "1"}, {"models": {"a": {"x": "2"}, "c": {}}})
    'flex_factor, models.a.x, models.b, models.c'
    """
    return ", ".join(sorted(_differing(stored, new, "")))


def _differing(stored: Any, new: Any, path: str) -> list[str]:
    if stored == new:
        return []
    if not (isinstance(stored, dict) and isinstance(new, dict)):
        return [path]
    missing = object()
    found: list[str] = []
    for key in stored.keys() | new.keys():
        below = f"{path}.{key}" if path else key
        found += _differing(stored.get(key, missing), new.get(key, missing), below)
    return found


def _all(connection: Connection) -> list[dict[str, Any]]:
    by_time = select(price_versions).order_by(price_versions.c.effective_from_s, price_versions.c.stored_at_s)
    rows = connection.execute(by_time)
    return [json.loads(row.document) | {"digest": row.digest, "stored_at_s": row.stored_at_s} for row in rows]
