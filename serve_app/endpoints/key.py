"""An API key, from the environment variable that settings and commands name in its place."""

import os

from serve_app.core import ConfigError


def key_of(variable: str) -> str:
    """Raises ConfigError, which names the variable and nothing of what it holds."""
    key = os.environ.get(variable, "").strip()
    if not key:
        raise ConfigError(f"The environment variable {variable} is to hold an API key, and is not set.")
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(f"The environment variable {variable} holds characters that no HTTP header can carry.")
    return key
