"""A version that passed the gate goes to the registry of a running server as a canary; once more is a no-op there."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serve_app.adapters.registry.files import NAMES
from serve_app.core import ConfigError, EngineError, RequestError
from serve_app.endpoints import api_root, read_refusal

if TYPE_CHECKING:
    import httpx

KEY_ENV = "HEADRACE_ADMIN_KEY"
_TIMEOUT_S = 330.0
"""A server may take five minutes to fetch, check and try a version."""


def publish(
    folder: Path, name: str, url: str, weight: float, transport: httpx.BaseTransport | None = None
) -> dict[str, Any]:
    """Send the adapter's files as a canary of `name`; returns what the server says of the version.

    `transport` in place of the network is for tests. Raises RequestError where the server refuses, ConfigError where it
    refuses the key, EngineError where it cannot be reached.
    """
    import httpx

    address = f"{api_root(url)}/adapters"
    key = os.environ.get(KEY_ENV)
    headers = {"authorization": f"Bearer {key}"} if key else {}
    files = [("files", (file, (folder / file).read_bytes())) for file in NAMES if (folder / file).is_file()]
    fields = {"name": name, "canary": str(weight)}
    try:
        with httpx.Client(timeout=_TIMEOUT_S, headers=headers, transport=transport) as client:
            response = client.post(address, data=fields, files=files)
    except httpx.HTTPError as error:
        raise EngineError(f"{address} cannot be reached ({type(error).__name__}); is the server running?") from error
    if response.status_code in (401, 403):
        raise ConfigError(f"{address} refused the key; set {KEY_ENV} to a key with the role admin.")
    if not response.is_success:
        refusal = read_refusal(response.status_code, response.content)
        raise RequestError(f"{address} did not take {folder.name}: {refusal}", refusal.param, refusal.code)
    try:
        told: dict[str, Any] = json.loads(response.content)
        return {"version": told["version"], "state": told["state"]}
    except (ValueError, KeyError, TypeError) as error:
        raise EngineError(f"{address} answered with something else than a version of an adapter.") from error
