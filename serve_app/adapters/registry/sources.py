"""Where a new version's files come from: a folder of this machine, the package, the hub, or any storage fsspec knows.

Only an adapter's three files and its card are taken, by their names, and never more bytes than are allowed.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from pathlib import Path
from typing import Any, Protocol

from serve_app.adapters.folder import shipped
from serve_app.adapters.registry.files import (
    NAMES,
    REQUIRED,
    Allowance,
    copy_folder,
    filesystem,
    shown,
    storage_errors,
)
from serve_app.core import AdapterError

_HUB = re.compile(r"hf://(?P<repository>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
_LOCAL = ("file", "local")


class Hub(Protocol):
    """The part of `huggingface_hub.HfApi` that is used."""

    def model_info(self, repo_id: str, *, revision: str | None, files_metadata: bool) -> Any:
        """Commit and files of a repository."""
        ...

    def hf_hub_download(self, repo_id: str, filename: str, *, revision: str | None, local_dir: Path) -> Any:
        """Fetch one file into a folder."""
        ...


async def fetch_source(uri: str, into: Path, max_bytes: int, hub: Hub | None = None) -> Path:
    """Bring an adapter's files into the empty folder `into`, and return it. `max_bytes`: of all files together.

    `uri`: a folder, `shipped:NAME`, `hf://ORG/NAME[@REVISION]`, or any URI that fsspec knows. Raises AdapterError;
    what is in `into` then is worth nothing.
    """
    await asyncio.to_thread(_fetch, uri, into, max_bytes, hub)
    return into


def _fetch(uri: str, into: Path, max_bytes: int, hub: Hub | None) -> None:
    into.mkdir(parents=True, exist_ok=True)
    scheme, separator, rest = uri.partition("://")
    if uri.startswith("shipped:"):
        copy_folder(shipped(uri.removeprefix("shipped:")), into, max_bytes)
    elif not separator or scheme in _LOCAL:
        copy_folder(Path(rest if separator else uri).expanduser(), into, max_bytes)
    elif scheme == "hf":
        _from_hub(uri, into, max_bytes, hub)
    else:
        _from_storage(uri, into, max_bytes)
    for name in REQUIRED:
        if not (into / name).is_file():
            raise AdapterError(
                f"{shown(uri)} holds no {name}; save the adapter with PEFT, as safetensors, and name its folder."
            )


def _from_storage(uri: str, into: Path, max_bytes: int) -> None:
    system, root = filesystem(uri)
    allowance = Allowance(max_bytes, shown(uri))
    with storage_errors(uri):
        sizes = {}
        for name in NAMES:
            try:
                told = system.info(f"{root}/{name}")
            except FileNotFoundError:
                continue
            if told.get("type", "file") != "file" or told.get("islink"):
                raise AdapterError(f"{shown(uri)}/{name} is no regular file; links are not followed.")
            sizes[name] = told.get("size") or 0
        Allowance(max_bytes, shown(uri)).take(sum(sizes.values()))
        for name in sizes:
            with system.open(f"{root}/{name}", "rb") as source:
                allowance.copy(source, into / name)


def _from_hub(uri: str, into: Path, max_bytes: int, hub: Hub | None) -> None:
    found = _HUB.fullmatch(uri)
    if found is None:
        raise AdapterError(f"{shown(uri)} is no address on the hub; write hf://ORG/NAME or hf://ORG/NAME@REVISION.")
    if hub is None:
        from huggingface_hub import HfApi

        hub = HfApi()
    repository = found["repository"]
    with storage_errors(uri):
        told = hub.model_info(repository, revision=found["revision"], files_metadata=True)
        sizes = {one.rfilename: one.size or 0 for one in told.siblings or () if one.rfilename in NAMES}
        Allowance(max_bytes, shown(uri)).take(sum(sizes.values()))
        allowance = Allowance(max_bytes, shown(uri))
        for name in sizes:
            hub.hf_hub_download(repository, name, revision=told.sha, local_dir=into)
            allowance.take((into / name).lstat().st_size)
            if (into / name).is_symlink():
                raise AdapterError(f"{shown(uri)}/{name} is no regular file; links are not followed.")
    shutil.rmtree(into / ".cache", ignore_errors=True)  # the hub's own bookkeeping
