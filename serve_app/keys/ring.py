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
from serve_app.core import ConfigError, DataError, LedgerError
from serve_app.keys.kept import KeptKeys
from serve_app.keys.key import Key, Role
from serve_app.keys.record import KeyRecord, KeySnapshot, KeySource
from serve_app.keys.secret import digest_of
from serve_app.snapshots import Kept, LastTold

_LOG = logging.getLogger(__name__)

_SAVE_EVERY_S = 60.0
"""How much older than the keys in force their copy on disk may be."""
_NO_DIGEST = "0" * 64
"""Compared with when no key fits, so that a wrong key takes as long as a right one."""


class KeyRing(LastTold):
    """Finds the key that was sent. For one event loop.

    The stored keys are read again every `refresh_s`, from `begin` or the first request on until `close`. While they
    cannot be read the last ones count. A ring that begins while they cannot be read takes the copy on this node's disk,
    where there is a young one; else only the keys of the settings count until they are read.

    The time that a look-up takes tells nothing about the keys: the digest of what was sent is looked up under a hash
    with a random key of this process, and then compared in constant time.
    """

    def __init__(
        self,
        settings: Settings,
        source: KeySource | None = None,
        kept: KeptKeys | None = None,
        *,
        refresh_s: float = 1.0,
        timeout_s: float = 0.9,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """With no `source` there are the keys of the settings only. `kept`: the copy on disk, taken and looked after.

        Raises ConfigError when two keys of the settings share a name, or two names a key.
        """
        super().__init__(_LOG, "API keys cannot be read, the last known ones count", refresh_s, timeout_s, clock)
        self._settings, self._source, self._kept = settings, source, kept
        self._salt = secrets.token_bytes(32)
        self._own = self._of_settings()
        self._snapshot = KeySnapshot() if source is None else None
        self._had_stored = False
        self._by_tag: dict[bytes, KeyRecord] = {}
        self._index()
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._from_disk: Kept[KeySnapshot] | None = None
        """The copy that counts until the source tells newer keys; None: it has told them, or there is none."""
        self._saved: KeySnapshot | None = None
        self._saved_at_s = 0.0

    @property
    def open(self) -> bool:
        """Whether requests need no key: no key is set, and none was ever stored. Unknown is not open.

        Neither is a database that had keys and has lost them, as one that was replaced by an empty one.
        """
        return not self._own and not self._had_stored and self._snapshot == KeySnapshot()

    @property
    def kept_age_s(self) -> float | None:
        """Where the stored keys in force are a copy from disk: seconds since the source told them. Else None."""
        return self._kept.age_s(self._from_disk) if self._kept and self._from_disk else None

    async def begin(self, within_s: float) -> None:
        """Read the stored keys before the first request asks for one; else take the copy, else try for so long.

        A gateway that takes requests before it knows the keys has to refuse them while the database is away.
        """
        self._start()
        deadline_s = self._clock() + within_s
        await self.refresh()
        if self._snapshot is None and self._kept:
            await self._take_copy(self._kept)
        while self._snapshot is None and self._clock() < deadline_s:
            await asyncio.sleep(self._follow_s)
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
        """See `LastTold`."""
        if self._source is None:
            return
        snapshot = await self._ask(self._source.keys())
        if snapshot is None:
            self._drop_old_copy()
            return
        self._from_disk = None
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
            self._task = asyncio.get_running_loop().create_task(self.run())

    async def run(self) -> None:
        """Follow until cancelled, after what `begin` or the first request has read."""
        while True:
            await asyncio.sleep(self._follow_s)
            await self.refresh()
            if self._kept:
                await self._save_copy(self._kept)

    async def _take_copy(self, kept: KeptKeys) -> None:
        """Count on what this node's disk has, until the source answers."""
        try:
            copy = await asyncio.to_thread(kept.load)
        except (DataError, OSError) as error:
            _LOG.error("The copy of the API keys on this node is not taken: %s", error)
            return
        if copy is None or self._snapshot is not None:  # read meanwhile
            return
        self._from_disk, self._snapshot, self._had_stored = copy, copy.snapshot, True
        self._index()
        _LOG.warning(
            "API keys cannot be read; a copy of %.0f s ago counts, so that a key revoked since then is still taken.",
            kept.age_s(copy),
        )

    def _drop_old_copy(self) -> None:
        age_s = self.kept_age_s
        if self._kept and age_s is not None and age_s > self._kept.max_age_s:
            _LOG.error("The copy of the API keys is older than %g s, and no longer taken.", self._kept.max_age_s)
            self._from_disk = self._snapshot = None
            self._index()

    async def _save_copy(self, kept: KeptKeys) -> None:
        """Where keys have changed, or the copy ages. No copy is made of no keys: it would open a server."""
        snapshot, now_s = self._snapshot, self._clock()
        if snapshot is None or snapshot == KeySnapshot() or self.last_error is not None:
            return
        if snapshot == self._saved and now_s - self._saved_at_s < min(_SAVE_EVERY_S, kept.max_age_s / 4):
            return
        self._saved, self._saved_at_s = snapshot, now_s
        try:
            await asyncio.to_thread(kept.save, snapshot)
        except OSError as error:
            _LOG.warning("No copy of the API keys can be kept on this node: %s", error)

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
        return replace(
            key,
            semantic_cache=key.semantic_cache or key.key_id in self._settings.cache.semantic.keys,
            priority=key.priority or key.key_id in self._settings.gateway.admission.priority_keys,
            store_texts=self._settings.ledger.texts.wants(key.key_id, key.store_texts),
        )

    def _tag(self, digest: str) -> bytes:
        return hashlib.blake2b(digest.encode(), key=self._salt, digest_size=16).digest()
