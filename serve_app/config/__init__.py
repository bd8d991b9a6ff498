"""Settings: one frozen pydantic model per section, composed into `Settings`, read from one YAML file.

    section     the base of all sections; a file for each of them beside it, and `settings`, which puts them together
    load        from the file to `Settings`, and what a mistake says; `prices_file` the same for prices alone
    named       functions that settings name; `pricelist` the list prices that they name
    reference   docs/configuration.md, written from the sections
    serve       what Ray Serve is told of a graph with these settings, as plain data

Knows what may be written and what it means; makes nothing of it. Of the environment it reads `HEADRACE_CONFIG`, which
names the file, and what the file itself names with `!env`.
"""

from serve_app.config.cascade import CascadeSettings
from serve_app.config.deployments import DeploymentSettings
from serve_app.config.ensemble import EnsembleSettings
from serve_app.config.gateway import GatewaySettings
from serve_app.config.load import CONFIG_ENV, config_path, describe, load, profiles
from serve_app.config.nodes import NodeSettings
from serve_app.config.routing import RoutesSettings
from serve_app.config.settings import Settings

__all__ = [
    "CONFIG_ENV",
    "CascadeSettings",
    "DeploymentSettings",
    "EnsembleSettings",
    "GatewaySettings",
    "NodeSettings",
    "RoutesSettings",
    "Settings",
    "config_path",
    "describe",
    "load",
    "profiles",
]
