"""What an item must have for a scorer, said in one sentence where it has not."""

from __future__ import annotations

from serve_app.core import DataError
from serve_app.labelling.item import Item


def reference_of(item: Item, scorer: str) -> str:
    """The reference. Raises DataError where there is none, or only white space."""
    if item.reference is None or not item.reference.strip():
        raise DataError(f"`reference` is missing, and scorer {scorer!r} compares with it; add it or choose another.")
    return item.reference
