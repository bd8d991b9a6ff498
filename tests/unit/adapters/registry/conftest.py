"""An artefact store in a folder or in memory, and a storage that fails when it is told to."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from serve_app.adapters.registry.artefacts import ArtefactStore
from serve_app.adapters.registry.cache import AdapterCache

MAX_BYTES = 2**20
OpenStore = Callable[..., ArtefactStore]


class ScriptedFileSystem(MemoryFileSystem):
    """A storage in memory whose operations fail from the `failing`-th on; None: it is well."""

    protocol = "scripted"
    store: dict[str, Any] = {}  # noqa: RUF012 - the base class has it so
    pseudo_dirs: list[str] = [""]  # noqa: RUF012
    failing: int | None = None
    done: list[str] = []  # noqa: RUF012

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        return super()._strip_protocol(path.replace("scripted://", "memory://"))

    @classmethod
    def reset(cls, failing: int | None = None) -> None:
        cls.failing, cls.done = failing, []

    def _step(self, what: str) -> None:
        cls = type(self)
        cls.done.append(what)
        if cls.failing is not None and len(cls.done) > cls.failing:
            raise ConnectionError("the storage is away")

    def info(self, path: str, **more: Any) -> Any:
        self._step("info")
        return super().info(path, **more)

    def _open(self, path: str, mode: str = "rb", **more: Any) -> Any:
        self._step(f"open {mode}")
        return super()._open(path, mode, **more)

    def mv(self, path1: str, path2: str, **more: Any) -> None:
        self._step("mv")
        super().mv(path1, path2, **more)

    def pipe_file(self, path: str, value: bytes, **more: Any) -> None:
        self._step("pipe")
        super().pipe_file(path, value, **more)

    def cat_file(self, path: str, *args: Any, **more: Any) -> bytes:
        self._step("cat")
        return super().cat_file(path, *args, **more)

    def rm_file(self, path: str) -> None:
        self._step("rm_file")
        super().rm_file(path)


fsspec.register_implementation("scripted", ScriptedFileSystem, clobber=True)


@pytest.fixture(autouse=True)
def clean_storages() -> Iterator[None]:
    """Storages in memory belong to the process: each test gets empty ones."""
    yield
    ScriptedFileSystem.reset()
    for system in (MemoryFileSystem, ScriptedFileSystem):
        system.store.clear()
        system.pseudo_dirs[:] = [""]


@pytest.fixture
def scripted() -> type[ScriptedFileSystem]:
    """`scripted.reset(failing=3)`: the storage `scripted://` does three more operations."""
    return ScriptedFileSystem


@pytest.fixture
def open_store(tmp_path: Path) -> OpenStore:
    """`open_store(uri, node)`: as one node sees it."""

    def open_store(uri: str | None = None, node: str = "a", max_bytes: int = MAX_BYTES, **more: Any) -> ArtefactStore:
        cache = AdapterCache(tmp_path / f"cache-{node}", 100 * MAX_BYTES)
        return ArtefactStore(uri or f"file://{tmp_path}/store", cache, max_bytes, **more)

    return open_store
