"""From settings to the rule that a cascade asks."""

from pathlib import Path

from serve_app.confidence.fitted import FittedRule
from serve_app.confidence.policy import read
from serve_app.confidence.rule import ThresholdRule
from serve_app.config.cascade import CascadeSettings
from serve_app.core import ConfigError, DataError


def configured_rule(settings: CascadeSettings) -> ThresholdRule | FittedRule:
    """The fitted policy where one is named, else the plain threshold. Reads a file of some kilobytes.

    Raises ConfigError where the file cannot be used.
    """
    if settings.policy is None:
        return ThresholdRule(settings)
    try:
        policy = read(Path(settings.policy))
    except DataError as error:
        raise ConfigError(f"cascade.policy: {error}") from error
    return FittedRule(policy, settings)
