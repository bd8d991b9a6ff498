"""A copy of the registry's snapshot on a node's own disk, for a replica's start while the ledger is away."""

from __future__ import annotations

import math
import time
from pathlib import Path

from pydantic import TypeAdapter

from serve_app.adapters.registry.records import RegistrySnapshot
from serve_app.snapshots import Kept, KeptCopy

_FILE = TypeAdapter(Kept[RegistrySnapshot])


class KeptSnapshot(KeptCopy[RegistrySnapshot]):
    """What the replicas of a node share, of whatever age."""

    def __init__(self, path: Path) -> None:
        """See `KeptCopy`."""
        super().__init__(path, _FILE, math.inf, time.time)
