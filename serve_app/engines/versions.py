"""Several versions of an adapter in one engine: which a call gets, and when one that is dropped may be forgotten."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, runtime_checkable

from serve_app.adapters import AdapterSpec
from serve_app.core import EngineError, EngineInfo, ModelNotFound
from serve_app.engines.adapters import named_adapter


@runtime_checkable
class AdapterHost(Protocol):
    """An engine whose adapters change while it answers. For one event loop; a call keeps the version it began with.

    A call that names a version gets exactly that one, or ModelNotFound; one that names none gets the live one.
    """

    def read_adapter(self, folder: Path, name: str, base_override: bool) -> AdapterSpec:
        """Read a folder's adapter and check it against this engine's base. Waits for the disk: not for an event loop.

        Raises AdapterError.
        """
        ...

    async def add_version(self, adapter: AdapterSpec) -> None:
        """Hold it, as read by `read_adapter`, under its name, beside the others of that name; again is a no-op.

        Raises AdapterError, and then nothing has changed.
        """
        ...

    async def pin_version(self, version: str, pinned: bool) -> None:
        """Keep a version resident, or let it be evicted again. Returns once it is resident, where there is room.

        Raises AdapterError where all places are kept for other names' pinned versions, or it cannot be loaded.
        """
        ...

    async def drop_version(self, name: str, version: str) -> None:
        """Hold it no more under this name: no new call gets it, those it has are finished. Unknown ones are ignored."""
        ...

    async def set_live(self, names: Mapping[str, str]) -> None:
        """Name -> version that calls without one get, of all names. Raises EngineError for one that is not held."""
        ...


class Versions:
    """What an engine holds. For one event loop."""

    def __init__(self, forget: Callable[[str], None]) -> None:
        """`forget` is told a version that no name holds and no call uses any more."""
        self._forget = forget
        self._held: dict[str, dict[str, AdapterSpec]] = {}
        """Name -> version -> adapter."""
        self._calls: Counter[str] = Counter()
        """Version -> calls in flight."""
        self.live: dict[str, AdapterSpec] = {}
        """Name -> the version that calls without one get."""

    def add(self, adapter: AdapterSpec) -> None:
        """Hold one more."""
        self._held.setdefault(adapter.name, {})[adapter.version] = adapter

    def drop(self, name: str, version: str) -> None:
        """Hold it no more under this name."""
        held = self._held.get(name, {})
        if held.pop(version, None) is None:
            return
        if not held:
            del self._held[name]
        if name in self.live and self.live[name].version == version:
            del self.live[name]
        self._forget_if_unused(version)

    def set_live(self, names: Mapping[str, str]) -> None:
        """See AdapterHost."""
        for name, version in names.items():
            if version not in self._held.get(name, {}):
                raise EngineError(f"adapter {name} has no version {version} here; add it first")
        self.live = {name: self._held[name][version] for name, version in names.items()}

    def holds(self, version: str, name: str | None = None) -> bool:
        """Whether this name holds it; without a name, whether any does."""
        return any(version in held for each, held in self._held.items() if name in (None, each))

    def find(self, name: str | None, version: str | None) -> AdapterSpec | None:
        """What a call gets; None for the bare base. Raises ModelNotFound."""
        if name is None or version is None:
            return named_adapter(self.live, name)
        held = self._held.get(name, {})
        if version not in held:
            raise no_version(name, version)
        return held[version]

    def info(self, model: str, max_context_tokens: int) -> EngineInfo:
        """What an engine says of its adapters; it adds what it says of itself."""
        return EngineInfo(
            model=model,
            max_context_tokens=max_context_tokens,
            adapters={name: adapter.version for name, adapter in self.live.items()},
            warm_adapters=tuple(name for name, adapter in self.live.items() if adapter.manifest.temperature),
            longest_answers={name: longest for name, one in self.live.items() if (longest := one.manifest.max_tokens)},
        )

    @contextmanager
    def used(self, adapter: AdapterSpec | None) -> Iterator[None]:
        """A call is under way with it."""
        if adapter is None:
            yield
            return
        self._calls[adapter.version] += 1
        try:
            yield
        finally:
            self._calls[adapter.version] -= 1
            self._forget_if_unused(adapter.version)

    def _forget_if_unused(self, version: str) -> None:
        if self._calls[version] or self.holds(version):
            return
        del self._calls[version]
        self._forget(version)


def no_version(name: str, version: str) -> ModelNotFound:
    """The refusal of a version that an engine does not hold."""
    return ModelNotFound(f"adapter {name!r} has no version {version!r} here", "model", "model_not_found")
