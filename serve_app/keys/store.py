"""Keys in the ledger's database."""

import re
import time
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, func, insert, select, update

from serve_app.config.budgets import Limit
from serve_app.core import RequestError
from serve_app.keys.key import Key
from serve_app.keys.record import KeyRecord, KeySnapshot
from serve_app.keys.secret import digest_of, new_secret
from serve_app.keys.tables import api_keys
from serve_app.store import Store
from serve_app.store.faults import store_faults

T = TypeVar("T")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class KeyStore:
    """A `KeySource` that also makes and revokes keys. Over an open store; used from one event loop."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store, self._clock = store, clock

    async def create(self, key: Key) -> str:
        """Store a new key and return its secret, which cannot be had again.

        A name is given once for all time, so that accounts under it are one key's. Raises RequestError for a name that
        is taken or malformed, LedgerError when the database cannot be used.
        """
        if not _NAME.fullmatch(key.key_id):
            raise RequestError(
                f"{key.key_id[:80]!r} is no name for a key; take 1 to 64 letters, digits, dots, underscores and "
                "hyphens, a letter or digit first.",
                "name",
            )
        secret, now_s = new_secret(), self._clock()
        await self._run(
            self._store.write, lambda connection: _insert(connection, KeyRecord(key, digest_of(secret.encode()), now_s))
        )
        return secret

    async def all(self) -> tuple[KeyRecord, ...]:
        """All keys, revoked ones too, by name. Raises LedgerError."""
        return await self._run(self._store.read, _select_all)

    async def revoke(self, key_id: str) -> None:
        """Refuse the key from now on; gateways follow within two seconds. A second call changes nothing.

        Raises RequestError when there is no such key, LedgerError when the database cannot be used.
        """
        now_s = self._clock()
        await self._run(self._store.write, lambda connection: _revoke(connection, key_id, now_s))

    async def keys(self) -> KeySnapshot:
        """The valid keys. Raises LedgerError."""
        return await self._run(self._store.read, _snapshot)

    async def _run(self, run: Callable[[Callable[[Connection], T]], Any], work: Callable[[Connection], T]) -> T:
        with store_faults():
            result: T = await run(work)
        return result


def _insert(connection: Connection, record: KeyRecord) -> None:
    key = record.key
    known = connection.execute(select(api_keys).where(api_keys.c.key_id == key.key_id)).one_or_none()
    if known is not None:
        state = "exists" if known.revoked_at_s is None else "was revoked, and its accounts keep the name"
        raise RequestError(f"A key {key.key_id!r} {state}; take another name.", "name")
    connection.execute(
        insert(api_keys).values(
            key_id=key.key_id,
            hash=record.digest,
            role=key.role,
            models=None if key.models is None else list(key.models),
            limits=[limit.model_dump(mode="json", exclude_none=True) for limit in key.limits],
            semantic_cache=key.semantic_cache,
            store_texts=key.store_texts,
            priority=key.priority,
            created_at_s=record.created_at_s,
        )
    )


def _select_all(connection: Connection) -> tuple[KeyRecord, ...]:
    return tuple(_record(row) for row in connection.execute(select(api_keys).order_by(api_keys.c.key_id)))


def _revoke(connection: Connection, key_id: str, now_s: float) -> None:
    found = connection.execute(select(api_keys.c.revoked_at_s).where(api_keys.c.key_id == key_id)).one_or_none()
    if found is None:
        raise RequestError(f"There is no key {key_id[:80]!r}; `headrace keys list` names them.", "name")
    if found.revoked_at_s is None:
        connection.execute(update(api_keys).where(api_keys.c.key_id == key_id).values(revoked_at_s=now_s))


def _snapshot(connection: Connection) -> KeySnapshot:
    valid = select(api_keys).where(api_keys.c.revoked_at_s.is_(None)).order_by(api_keys.c.key_id)
    revoked = select(func.count()).select_from(api_keys).where(api_keys.c.revoked_at_s.is_not(None))
    records = tuple(_record(row) for row in connection.execute(valid))
    return KeySnapshot(records, connection.execute(revoked).scalar_one())


def _record(row: Row[Any]) -> KeyRecord:
    key = Key(
        key_id=row.key_id,
        role=row.role,
        models=None if row.models is None else tuple(row.models),
        limits=tuple(Limit.model_validate(limit) for limit in row.limits),
        semantic_cache=row.semantic_cache,
        store_texts=row.store_texts,
        priority=row.priority,
    )
    return KeyRecord(key, row.hash, row.created_at_s, row.revoked_at_s)
