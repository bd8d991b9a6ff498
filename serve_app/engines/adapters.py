"""The adapter that a call names, found or refused in the same words by every engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from serve_app.core import ModelNotFound

_T = TypeVar("_T")


def named_adapter(adapters: Mapping[str, _T], name: str | None) -> _T | None:
    """None for the bare base. Raises ModelNotFound, which says what there is."""
    if name is None:
        return None
    if name not in adapters:
        known = ", ".join(adapters) or "none"
        raise ModelNotFound(f"no adapter is named {name!r}; this engine has: {known}", "model", "model_not_found")
    return adapters[name]
