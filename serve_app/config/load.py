"""From a YAML file to `Settings`; a mistake is one sentence that names the key and the value."""

import os
from collections.abc import Hashable
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from yaml.constructor import ConstructorError

from serve_app.config.settings import Settings
from serve_app.core import ConfigError

CONFIG_ENV = "HEADRACE_CONFIG"
"""Environment variable that names the settings file: a path, or the name of a packaged profile."""


def profiles() -> dict[str, Path]:
    """The packaged settings files by name."""
    folder = Path(str(resources.files("serve_app.config"))) / "profiles"
    return {file.stem: file for file in sorted(folder.glob("*.yaml"))}


def config_path(name_or_path: str | None = None) -> Path:
    """The settings file meant by a name or path; default: `HEADRACE_CONFIG`, else the `demo` profile.

    Raises ConfigError when there is no such file.
    """
    wanted = name_or_path or os.environ.get(CONFIG_ENV) or "demo"
    packaged = profiles()
    if wanted in packaged:
        return packaged[wanted]
    path = Path(wanted).expanduser()
    if not path.is_file():
        raise ConfigError(f"There is no settings file {wanted!r}; give a path or one of {', '.join(packaged)}.")
    return path


def load(name_or_path: str | None = None) -> Settings:
    """Read and check the settings file. Raises ConfigError naming the key at fault."""
    path = config_path(name_or_path)
    raw = read_mapping(path, "permissions", "a mapping of sections; see docs/configuration.md")
    try:
        return Settings.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(f"{path}: {describe(error)}") from error


def read_mapping(path: Path, to_check: str, holds: str) -> dict[str, Any]:
    """The mapping in a YAML file. Raises ConfigError: `to_check` is what to look at where the file cannot be read,
    `holds` what it should hold."""
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}; check the file's {to_check}.") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid YAML ({_problem(error)}).") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: the file must hold {holds}.")
    return raw


class _Loader(yaml.SafeLoader):
    """A safe loader to which a key that is given twice is an error: the last one would win in silence.

    `!env NAME` is the text of an environment variable, so that a settings file need not hold a secret.
    """

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """A value that looks like a date or a number and is none, as 2026-02-30, is a mistake in the file too."""
        try:
            return super().construct_object(node, deep)
        except ValueError as error:
            kind = node.tag.rpartition(":")[2]
            raise ConstructorError(None, None, f"this is no {kind}; quote it if it is text", node.start_mark) from error

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise ConstructorError(None, None, f"the key {key.value!r} is given twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _from_environment(loader: _Loader, node: yaml.Node) -> str:
    name = str(loader.construct_scalar(node)) if isinstance(node, yaml.ScalarNode) else ""
    value = os.environ.get(name, "")
    if not value:
        line = node.start_mark.line + 1
        raise ConfigError(f"Settings, line {line}: set the environment variable {name!r} that `!env` names here.")
    return value


_Loader.add_constructor("!env", _from_environment)


def _problem(error: Exception) -> str:
    """What is wrong with the file and where; never the line itself, which may hold a key or a password."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return " ".join(str(error).split())


def describe(error: ValidationError) -> str:
    """All mistakes of a validation, each with its key, its value and what is allowed.

    A value that may be a secret is not repeated.
    """
    parts = []
    for problem in error.errors(include_url=False):
        key = ".".join(str(step) for step in problem["loc"]) or "settings"
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            parts.append(f"unknown key `{key}`: remove it or correct its spelling")
        elif problem["type"] == "missing":
            parts.append(f"key `{key}` is missing")
        elif _may_be_secret(key) or isinstance(problem["input"], dict):
            parts.append(f"`{key}`: {message}")
        else:
            parts.append(f"`{key}`: {message}, got {problem['input']!r}")
    return "; ".join(parts) + "."


def _may_be_secret(key: str) -> bool:
    """Keys, and what may hold one: addresses with a password, headers."""
    return key.startswith("ledger") or any(word in key for word in ("key", "url", "header"))
