"""A node's own interpreter is tried before anything starts: Ray would only say that a worker died, time after time."""

import json
import platform
import subprocess
from importlib.metadata import version

from serve_app.config import Settings
from serve_app.core import ConfigError

_NODES = ("specialists", "fallback")
_TRIAL = """
import json, platform
from importlib.metadata import version
import serve_app.deployments.engine
print(json.dumps({"ray": version("ray"), "python": platform.python_version()}))
"""
_TRIAL_S = 120


def check_interpreters(settings: Settings) -> None:
    """Import in each what a replica imports; Ray wants its own release and Python's to be the cluster's, exactly.

    For the machine it is called on. Raises ConfigError that names the key.
    """
    wanted = {"ray": version("ray"), "python": platform.python_version()}
    for node in _NODES:
        python = getattr(settings, node).python
        if python is None:
            continue
        for name, there in _versions(f"{node}.python", python).items():
            if there != wanted[name]:
                raise ConfigError(
                    f"{node}.python: {python} has {name} {there}, and the cluster runs {wanted[name]}; Ray needs them "
                    "equal, so make its environment anew (docs/vllm.md)."
                )


def _versions(key: str, python: str) -> dict[str, str]:
    try:
        trial = subprocess.run([python, "-c", _TRIAL], capture_output=True, text=True, timeout=_TRIAL_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"{key}: {python} cannot be run ({error}); name an interpreter.") from error
    if trial.returncode != 0:
        said = trial.stderr.strip().rpartition("\n")[2]
        raise ConfigError(f"{key}: {python} cannot import what a replica needs ({said}); see docs/vllm.md.")
    found: dict[str, str] = json.loads(trial.stdout.splitlines()[-1])
    return found
