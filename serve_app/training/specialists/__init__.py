"""Recipes of the shipped specialists: a folder of public data in, rows and manifest out.

Pure functions: the same data gives the same rows, byte for byte. No torch.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from serve_app.core import DataError
from serve_app.training.specialists import code, legal, medical, support
from serve_app.training.specialists.public_sets import Prepared

RECIPES: dict[str, Callable[[Path], Prepared]] = {
    "legal": legal.prepare,
    "medical": medical.prepare,
    "code": code.prepare,
    "support": support.prepare,
}


def recipe(name: str) -> Callable[[Path], Prepared]:
    """The recipe of that name. Raises DataError for an unknown one."""
    if name not in RECIPES:
        raise DataError(f"there is no recipe {name!r}; there are {', '.join(RECIPES)}.")
    return RECIPES[name]
