"""What an answer depends on beside the request. Another fingerprint is another cache: what is stale is never found."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from serve_app.config import Settings
from serve_app.core import Attempt, EngineInfo

_SECTIONS = ("specialists", "fallback", "adapters", "routes", "router", "cascade", "ensemble")
"""Sections of the settings that decide what is answered."""


class Fingerprint:
    """Settings, the rule in force, and which adapter versions serve. For one event loop.

    Versions are learned in two ways: from what engines say of themselves (`serves`), which sees a new version before
    anything was asked of it, and from answers (`answered`). Until either happens a new version goes unseen, so ask the
    engines every few seconds: for so long an answer of the version before may be given. Where there is a registry it
    says it all (`follows`), and calls name their version: then neither is asked.
    """

    def __init__(self, settings: Settings) -> None:
        self._parts: dict[str, Any] = {}
        self._versions: dict[str, str] = {}
        self._followed: frozenset[str] = frozenset()
        """Adapters of which the registry says everything."""
        self.greedy_by_default = settings.specialists.temperature == 0 == settings.fallback.temperature
        """Whether the nodes are greedy where nobody names a temperature."""
        self.value = ""
        """Compare for equality only."""
        self.set("settings", settings.model_dump(mode="json", include=set(_SECTIONS)))

    def set(self, part: str, what: Any) -> None:
        """Something that decides answers is now this: anything JSON can hold, such as the dump of a cascade policy."""
        self._parts[part] = what
        self._change()

    def follows(self, versions: Mapping[str, tuple[str | None, ...]]) -> None:
        """What the registry says: adapter -> its versions that answer, in a fixed order."""
        self._followed = frozenset(versions)
        self._versions = {
            name: version for name, version in self._versions.items() if name.partition("/")[2] not in versions
        }
        self.set("adapters", {name: list(found) for name, found in versions.items()})

    def serves(self, node: str, info: EngineInfo) -> None:
        """What an engine says of itself."""
        prefix = f"{node}/"
        adapters = {f"{prefix}{name}": version for name, version in info.adapters.items() if name not in self._followed}
        others = {name: version for name, version in self._versions.items() if not name.startswith(prefix)}
        found: dict[str, str] = {**others, **adapters, prefix: f"{info.model} {info.dtype}"}
        if found != self._versions:
            self._versions = found
            self._change()

    def answered(self, attempts: Iterable[Attempt]) -> None:
        """The attempts of an answer that was generated: they name the adapter versions behind it."""
        changed = False
        for attempt in attempts:
            name = f"{attempt.node}/{attempt.adapter}"
            if (
                attempt.adapter is None
                or attempt.adapter_version is None
                or attempt.node == "cache"
                or attempt.adapter in self._followed
            ):
                continue
            if self._versions.get(name) != attempt.adapter_version:
                self._versions[name] = attempt.adapter_version
                changed = True
        if changed:
            self._change()

    def _change(self) -> None:
        text = json.dumps([self._parts, self._versions], sort_keys=True)
        self.value = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
