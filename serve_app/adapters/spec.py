"""The noun of this package: one adapter, read and checked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from serve_app.adapters.manifest import AdapterManifest
from serve_app.config.nodes import ADAPTER_NAME
from serve_app.core import RESERVED_MODELS, AdapterError


@dataclass(frozen=True, slots=True)
class AdapterSpec:
    """One adapter on disk. `load` fills all fields; `verify` sets `verified`."""

    name: str
    version: str
    """First 12 hex digits of the sha256 over config, weights and manifest."""
    path: Path
    """The folder."""
    rank: int
    alpha: float
    use_rslora: bool
    target_modules: tuple[str, ...]
    """Last parts of the adapted modules' names, such as `q_proj`, sorted."""
    base_model: str | None
    """As PEFT wrote it: a hub id, a catalogue alias or a path."""
    base_digest: str | None
    """From the manifest: sha256 of the source artefact of the base it was trained on."""
    verified: bool
    """Whether `base_digest` was compared with the base's own and is the same."""
    manifest: AdapterManifest

    @property
    def scaling(self) -> float:
        """What B (A x) is multiplied by: alpha / rank, or alpha / sqrt(rank) with rsLoRA."""
        return self.alpha / (math.sqrt(self.rank) if self.use_rslora else self.rank)


def check_name(name: str) -> str:
    """The name, if an adapter may have it. Raises AdapterError when it is malformed or reserved."""
    if not ADAPTER_NAME.fullmatch(name):
        raise AdapterError(
            f"adapter name {name!r} is not allowed; use 1 to 64 of a-z, 0-9, dot, underscore and hyphen, "
            "beginning with a letter or digit."
        )
    if name in RESERVED_MODELS:
        raise AdapterError(f"adapter name {name!r} is reserved for the graph; choose another name.")
    return name
