"""The keys that a gateway knows: those of the settings, and those of the database as it last saw them."""

import asyncio
import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from pydantic import SecretStr

from serve_app.config import Settings
from serve_app.core import ConfigError, LedgerError
from serve_app.keys.key import Key, Role
from serve_app.keys.record import KeyRecord, KeySnapshot, KeySource
from serve_app.keys.secret import digest_of

_LOG = logging.getLogger(__name__)

_NO_DIGEST = "0" * 64
"""Compared with when no key fits, so that a wrong key takes as long as a right one."""


class KeyRing:
    """Finds the key that was sent. For one event loop.

    The stored keys are read again every `refresh_s`, from `begin` or the first request on until `close`. While they
    cannot be read the last ones count; as long as they were never read only the keys of the settings do.

    The time that a look-up takes tells nothing about the keys: the digest of what was sent is looked up under a hash
    with a random key of this process, and then compared in constant time.
    """

    def __init__(
        self,
        settings: Settings,
        source: KeySource | None = None,
        *,
        refresh_s: float = 1.0,
        timeout_s: float = 0.9,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """With no `source` there are the keys of the settings only.

        Raises ConfigError when two keys of the settings share a name, or two names a key.
        """
        self._settings, self._source = settings, source
        self._refresh_s, self._timeout_s, self._clock = refresh_s, timeout_s, clock
        self._salt = secrets.token_bytes(32)
        self._own = self._of_settings()
        self._snapshot = KeySnapshot() if source is None else None
        self._had_stored = False
        self._by_tag: dict[bytes, KeyRecord] = {}
        self._index()
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._read_at_s: float | None = None
        self.last_error: Exception | None = None
        """Why the stored keys could not be read last time; None after a success."""

    @property
    def open(self) -> bool:
        """Whether requests need no key: no key is set, and none was ever stored. Unknown is not open.

        Neither is a database that had keys and has lost them, as one that was replaced by an empty one.
        """
        return not self._own and not self._had_stored and self._snapshot == KeySnapshot()

    @property
    def age_s(self) -> float | None:
        """Seconds since the stored keys were read; None: never."""
        return None if self._read_at_s is None else self._clock() - self._read_at_s

    async def begin(self, within_s: float) -> None:
        """Read the stored keys before the first request asks for one, trying again for so long.

        A gateway that takes requests before it knows the keys has to refuse them while the database is away.
        """
        self._start()
        deadline_s = self._clock() + within_s
        await self.refresh()
        while self._snapshot is None and self._clock() < deadline_s:
            await asyncio.sleep(self._refresh_s)
            await self.refresh()

    async def find(self, secret: bytes) -> Key | None:
        """The key that was sent, or None. Raises LedgerError for one unknown while the stored keys were never read."""
        digest = digest_of(secret)
        self._start()
        key = self._known(digest)
        if key is None and self._snapshot is None:
            await self._read_first()
            key = self._known(digest)
        return key

    async def opened(self) -> bool:
        """`open`, once it is known. Raises LedgerError while it cannot be told."""
        self._start()
        if not self._own and self._snapshot is None:
            await self._read_first()
        return self.open

    async def refresh(self) -> None:
        """Read the stored keys now. A failure is logged once and kept in `last_error`."""
        if self._source is None:
            return
        try:
            async with asyncio.timeout(self._timeout_s):
                snapshot = await self._source.keys()
        except Exception as error:  # whatever it was: the last snapshot stays in force
            if self.last_error is None:
                _LOG.warning(
                    "API keys cannot be read, the last known ones count: %s", str(error) or type(error).__name__
                )
            self.last_error = error
            return
        self.last_error, self._read_at_s = None, self._clock()
        if snapshot != self._snapshot:
            if snapshot != KeySnapshot():
                self._had_stored = True
            elif self._had_stored:
                _LOG.error("The database has lost its API keys; no stored key is taken, and the server does not open.")
            self._snapshot = snapshot
            self._index()

    async def close(self) -> None:
        """Stop reading the stored keys."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def _start(self) -> None:
        if self._source is not None and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._follow())

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self._refresh_s)
            await self.refresh()

    async def _read_first(self) -> None:
        """One request reads the stored keys, others wait for it; after a failure that is left to the background."""
        async with self._lock:
            if self._snapshot is None and self.last_error is None:
                await self.refresh()
        if self._snapshot is None:
            raise LedgerError("The API keys cannot be read yet; try again later.") from self.last_error

    def _known(self, digest: str) -> Key | None:
        record = self._by_tag.get(self._tag(digest))
        same = hmac.compare_digest(digest, record.digest if record else _NO_DIGEST)
        return record.key if record and same else None

    def _of_settings(self) -> tuple[KeyRecord, ...]:
        gateway = self._settings.gateway
        if both := sorted(set(gateway.api_keys) & set(gateway.admin_keys)):
            raise ConfigError(
                f"gateway.api_keys and gateway.admin_keys both have a key {both[0]!r}; give one of them another name."
            )
        records = [*self._records(gateway.api_keys, "user"), *self._records(gateway.admin_keys, "admin")]
        names: dict[str, str] = {}
        for record in records:
            name = record.key.key_id
            if (other := names.setdefault(record.digest, name)) != name:
                raise ConfigError(
                    f"gateway.api_keys and gateway.admin_keys have the same key under the names {other!r} and "
                    f"{name!r}; give each its own."
                )
        return tuple(records)

    def _records(self, keys: dict[str, SecretStr], role: Role) -> Iterable[KeyRecord]:
        for name, secret in keys.items():
            yield KeyRecord(Key(name, role), digest_of(secret.get_secret_value().encode()), 0.0)

    def _index(self) -> None:
        """A key of the settings counts before a stored one of its name."""
        own = {record.key.key_id for record in self._own}
        stored = []
        for record in self._snapshot.records if self._snapshot else ():
            if record.key.key_id in own:
                _LOG.error("The stored key %r is refused: the settings have a key of that name.", record.key.key_id)
            else:
                stored.append(record)
        self._by_tag = {
            self._tag(record.digest): replace(record, key=self._with_settings(record.key))
            for record in (*stored, *self._own)
        }

    def _with_settings(self, key: Key) -> Key:
        """What the settings say of a key by its name is added to what it was made with."""
        texts = self._settings.ledger.texts
        return replace(
            key,
            semantic_cache=key.semantic_cache or key.key_id in self._settings.cache.semantic.keys,
            store_texts=texts.store and (key.store_texts or not texts.keys or key.key_id in texts.keys),
        )

    def _tag(self, digest: str) -> bytes:
        return hashlib.blake2b(digest.encode(), key=self._salt, digest_size=16).digest()
