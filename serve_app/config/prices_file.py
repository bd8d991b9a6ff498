"""Prices from a file of their own, to compare a period at other prices."""

from pathlib import Path

import yaml
from pydantic import ValidationError

from serve_app.config.load import _Loader, _problem, describe
from serve_app.config.prices import PricesSettings
from serve_app.core import ConfigError


def load_prices(path: Path) -> PricesSettings:
    """Of a settings file its section `prices`, else the file as that section. Raises ConfigError naming the key."""
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}; check the file's path and permissions.") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid YAML ({_problem(error)}).") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: the file must hold `version` and `models`, or a section `prices`.")
    try:
        return PricesSettings.model_validate(raw.get("prices", raw))
    except ValidationError as error:
        raise ConfigError(f"{path}: {describe(error)}") from error
