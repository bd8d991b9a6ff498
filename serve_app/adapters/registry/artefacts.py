"""The artefact store: adapters' files by digest, in a folder or an object store that all nodes reach.

{store}/{digest}/adapter_config.json, …   each appears by a rename, whole
{store}/{digest}/COMPLETE                 written last: a reader takes nothing before it is there
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from serve_app.adapters.folder import content_digest, digest_of, shipped, shipped_names, source_folder
from serve_app.adapters.registry.cache import AdapterCache, check_digest, is_digest
from serve_app.adapters.registry.files import NAMES, REQUIRED, Allowance, filesystem, open_plain, shown, storage_errors
from serve_app.catalogue.cache import cache_dir
from serve_app.config.nodes import AdapterSource
from serve_app.config.registry import RegistrySettings
from serve_app.core import AdapterError, ConfigError

MARKER = "COMPLETE"
_CHUNK_BYTES = 1 << 20
_MAX_MARKER_BYTES = 10_000
_FLAT = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oci", "oss"}
"""Object stores: they have no folders, and making one would make a bucket where its name is mistyped."""


class ArtefactStore:
    """Adapters' files over any URI that fsspec knows. For one event loop; storage and disk are waited for in threads.

    Every method raises AdapterError, one sentence, when the storage is away; the same call may then be made again.
    """

    def __init__(self, uri: str, cache: AdapterCache, max_bytes: int, folders: Iterable[Path] = ()) -> None:
        """`folders`: adapters that lie on this node and need no fetching; those of this package are among them."""
        self._uri, self._cache, self._max_bytes = uri.rstrip("/"), cache, max_bytes
        self._folders = [*folders, *(shipped(name) for name in shipped_names())]
        self._local: dict[str, Path] | None = None

    @property
    def name(self) -> str:
        """The store for messages, with no credentials."""
        return shown(self._uri)

    async def put(self, folder: Path) -> str:
        """Publish an adapter's files, return their digest; those that are there whole are only said to be needed."""
        return await asyncio.to_thread(self._put, folder)

    async def fetch(self, digest: str) -> Path:
        """A folder on this node with these bytes, which were checked; nobody may write to it."""
        return await asyncio.to_thread(self._fetch, digest)

    async def holds(self, digest: str) -> bool:
        """Whether the store has these files, whole."""
        return await asyncio.to_thread(self._holds, digest)

    async def delete(self, digest: str, unused_for_s: float = 0.0) -> bool:
        """Delete the files, if there are any; False where they were put again within `unused_for_s` seconds."""
        return await asyncio.to_thread(self._delete, digest, unused_for_s)

    async def sweep(self, older_than_s: float) -> int:
        """Delete what publications that never ended left behind that long ago; returns how many adapters."""
        return await asyncio.to_thread(self._sweep, older_than_s)

    def keep(self, digests: Iterable[str]) -> None:
        """These are served: their copies on this node are not deleted."""
        self._cache.keep(digests)

    def _put(self, folder: Path) -> str:
        for name in REQUIRED:
            if not (folder / name).is_file():
                raise AdapterError(f"{folder / name} is missing; give the folder that your trainer saved.")
        digest = content_digest(folder)
        system, root = filesystem(self._uri)
        home = f"{root}/{digest}"
        names = [name for name in NAMES if (folder / name).is_file()]
        with storage_errors(self._uri):
            if not (self._is_whole(system, home) and _stored_digest(system, home) == digest):
                if not _FLAT.intersection(_protocols(system)):
                    system.makedirs(home, exist_ok=True)
                sent = {name: _send(system, folder / name, f"{home}/{name}") for name in names}
                if digest_of(sent) != digest:
                    raise AdapterError(f"{folder} changed while it was read; add it again.")
            marker = {"files": {name: (folder / name).stat().st_size for name in names}}
            _write(system, f"{home}/{MARKER}", json.dumps(marker).encode())
        return digest

    def _fetch(self, digest: str) -> Path:
        check_digest(digest)
        if self._local is None:
            self._local = {content_digest(folder): folder for folder in self._folders if folder.is_dir()}
        local = self._local.get(digest)
        if local is not None and local.is_dir() and content_digest(local) == digest:
            return local
        return self._cache.get(digest, lambda part: self._fill(digest, part))

    def _fill(self, digest: str, part: Path) -> None:
        system, root = filesystem(self._uri)
        home = f"{root}/{digest}"
        allowance = Allowance(self._max_bytes, f"{self.name}/{digest}")
        with storage_errors(self._uri):
            try:
                files = _marked(system.cat_file(f"{home}/{MARKER}", end=_MAX_MARKER_BYTES))
            except FileNotFoundError as error:
                raise AdapterError(
                    f"Adapter {digest[:12]} is not in {self.name}; on several nodes registry.store must be a place "
                    "that all of them reach."
                ) from error
            for name in files:
                with system.open(f"{home}/{name}", "rb") as source:
                    allowance.copy(source, part / name)

    def _holds(self, digest: str) -> bool:
        system, root = filesystem(self._uri)
        with storage_errors(self._uri):
            return self._is_whole(system, f"{root}/{check_digest(digest)}")

    def _is_whole(self, system: Any, home: str) -> bool:
        try:
            files = _marked(system.cat_file(f"{home}/{MARKER}", end=_MAX_MARKER_BYTES))
            return all(system.info(f"{home}/{name}")["size"] == size for name, size in files.items())
        except FileNotFoundError:
            return False

    def _delete(self, digest: str, unused_for_s: float) -> bool:
        system, root = filesystem(self._uri)
        home = f"{root}/{check_digest(digest)}"
        with storage_errors(self._uri):
            if not system.exists(home):
                return True
            if unused_for_s and system.exists(f"{home}/{MARKER}"):
                put_at_s = system.modified(f"{home}/{MARKER}").timestamp()
                if time.time() - put_at_s < unused_for_s:
                    return False
            if system.exists(f"{home}/{MARKER}"):
                system.rm_file(f"{home}/{MARKER}")  # from now on nobody begins to read
            system.rm(home, recursive=True)
        return True

    def _sweep(self, older_than_s: float) -> int:
        system, root = filesystem(self._uri)
        num_deleted, before_s = 0, time.time() - older_than_s
        with storage_errors(self._uri):
            homes: dict[str, list[str]] = {}
            for path in system.find(root) if system.exists(root) else ():
                home, _, _name = str(path).rpartition("/")
                homes.setdefault(home, []).append(str(path))
            for home, paths in homes.items():
                begun = f"{home}/{MARKER}" not in paths and is_digest(home.rpartition("/")[2])
                if begun and all(system.modified(path).timestamp() < before_s for path in paths):
                    system.rm(home, recursive=True)
                    num_deleted += 1
        return num_deleted


def open_artefacts(settings: RegistrySettings, adapters: Mapping[str, AdapterSource]) -> ArtefactStore:
    """The store of these settings; `adapters`: those of the settings file, whose folders lie on this node.

    Raises ConfigError where `registry.store` was not filled in.
    """
    if settings.store is None:
        raise ConfigError("registry.store is not set; name a folder or a URI.")
    cache = AdapterCache(cache_dir() / "adapters", settings.cache_mb * 2**20)
    folders = [source_folder(source) for source in adapters.values() if not source.path.startswith("shipped:")]
    return ArtefactStore(settings.store, cache, settings.max_adapter_mb * 2**20, folders)


def _stored_digest(system: Any, home: str) -> str:
    """Of the files in the store, read again: whoever puts an adapter may do so because they are damaged."""
    hashes = {}
    for name in NAMES:
        if system.exists(f"{home}/{name}"):
            with system.open(f"{home}/{name}", "rb") as source:
                hashes[name] = hashlib.file_digest(source, "sha256").hexdigest()
    return digest_of(hashes)


def _protocols(system: Any) -> tuple[str, ...]:
    return (system.protocol,) if isinstance(system.protocol, str) else tuple(system.protocol)


def _send(system: Any, source: Path, target: str) -> str:
    """Write one file under another name, then rename it; sha256 of what was sent."""
    part, digest, num_bytes = f"{target}.{secrets.token_hex(8)}.part", hashlib.sha256(), 0
    try:
        with open_plain(source) as read, system.open(part, "wb") as out:
            while chunk := read.read(_CHUNK_BYTES):
                digest.update(chunk)
                num_bytes += len(chunk)
                out.write(chunk)
        if system.info(part)["size"] != num_bytes:
            raise AdapterError(f"{source.name} did not arrive whole in the artefact store; try again.")
        system.mv(part, target)
    except BaseException:
        _forget(system, part)
        raise
    return digest.hexdigest()


def _write(system: Any, target: str, data: bytes) -> None:
    part = f"{target}.{secrets.token_hex(8)}.part"
    try:
        system.pipe_file(part, data)
        system.mv(part, target)
    except BaseException:
        _forget(system, part)
        raise


def _forget(system: Any, part: str) -> None:
    """Take back what was begun. Where the storage is away it stays until the adapter is deleted; it hides nothing."""
    with suppress(Exception):  # the error that is under way says more
        if system.exists(part):
            system.rm_file(part)


def _marked(data: bytes) -> dict[str, int]:
    """Names and sizes of the files, as the marker has them. Raises AdapterError."""
    try:
        files = {str(name): int(size) for name, size in json.loads(data)["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AdapterError(
            f"{MARKER} in the artefact store is damaged; delete it and add the adapter again."
        ) from error
    if not set(REQUIRED) <= set(files) <= set(NAMES):
        raise AdapterError(f"{MARKER} in the artefact store names other files than an adapter has; delete it.")
    return files
