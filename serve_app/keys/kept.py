"""A copy of the stored keys on a gateway's own disk, for its start while the ledger is away. Digests, never keys."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from pydantic import TypeAdapter

from serve_app.keys.record import KeySnapshot
from serve_app.snapshots import Kept, KeptCopy

_FILE = TypeAdapter(Kept[KeySnapshot])


class KeptKeys(KeptCopy[KeySnapshot]):
    """The keys that the gateways of a node share."""

    def __init__(self, path: Path, max_age_s: float, clock: Callable[[], float] = time.time) -> None:
        """See `KeptCopy`."""
        super().__init__(path, _FILE, max_age_s, clock)
