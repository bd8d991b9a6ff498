"""Prices from a file of their own, to compare a period at other prices."""

from pathlib import Path

from pydantic import ValidationError

from serve_app.config.load import describe, read_mapping
from serve_app.config.prices import PricesSettings
from serve_app.core import ConfigError


def load_prices(path: Path) -> PricesSettings:
    """Of a settings file its section `prices`, else the file as that section. Raises ConfigError naming the key."""
    raw = read_mapping(path, "path and permissions", "`version` and `models`, or a section `prices`")
    try:
        return PricesSettings.model_validate(raw.get("prices", raw))
    except ValidationError as error:
        raise ConfigError(f"{path}: {describe(error)}") from error
