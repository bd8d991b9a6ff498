"""The noun of residency.py: an adapter and where it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from serve_app.core import HeadraceError

State = Literal["absent", "loading", "resident"]


@dataclass(frozen=True, slots=True)
class Residence:
    """What the engine knows of one adapter version."""

    version: str
    state: State = "absent"
    slot: int | None = None
    """None exactly while absent."""
    pinned: bool = False
    """Loaded as soon as there is room, and never evicted."""
    holds: int = 0
    """Rows that use it."""
    removed: bool = False
    """No new rows; it is gone when its last row has left or its loading has ended."""
    error: HeadraceError | None = None
    """Why its latest load failed."""
    last_used: int = 0
    """Greater is later; only the order means something."""
    grace: int = 0
    """How often its slot is still spared; see residency.py."""
