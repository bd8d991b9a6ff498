"""Functions that settings name as `package.module:function`."""

from importlib import import_module
from typing import Any


def named(text: str) -> Any:
    """What the text names. Raises ImportError or AttributeError saying why there is no such thing."""
    module, _, attribute = text.partition(":")
    if not module or not attribute:
        raise ImportError("it is no import path")
    return getattr(import_module(module), attribute)
