"""Settings: one frozen pydantic model per section, composed into `Settings`, read from one YAML file.

The environment is read here once, with the prefix HEADRACE_: `HEADRACE_CONFIG` names the file.
"""

from serve_app.config.cascade import CascadeSettings
from serve_app.config.deployments import DeploymentSettings
from serve_app.config.gateway import GatewaySettings
from serve_app.config.load import CONFIG_ENV, config_path, describe, load, profiles
from serve_app.config.nodes import NodeSettings
from serve_app.config.routing import RoutesSettings
from serve_app.config.settings import Settings

__all__ = [
    "CONFIG_ENV",
    "CascadeSettings",
    "DeploymentSettings",
    "GatewaySettings",
    "NodeSettings",
    "RoutesSettings",
    "Settings",
    "config_path",
    "describe",
    "load",
    "profiles",
]
