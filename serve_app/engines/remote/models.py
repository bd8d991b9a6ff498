"""What a server says of its models at /models: there may be nothing, and it is never waited for long."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import httpx

from serve_app.engines.remote.server import Server

_LOG = logging.getLogger(__name__)
_TIMEOUT_S = 5.0
_CONTEXT_FIELDS = ("max_model_len", "context_length", "context_window", "max_context_length")
"""Of vLLM, OpenRouter and Together, Groq, Mistral."""


async def context_tokens(server: Server) -> int | None:
    """The context of the server's model, in tokens; None where it does not say. Never raises HTTP's errors."""
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            response = await server.client.get(f"{server.root}/models", headers={"accept": "application/json"})
        entries = response.json()["data"] if response.status_code == 200 else None
    except (httpx.HTTPError, TimeoutError, ValueError, KeyError, TypeError):
        return None
    if not isinstance(entries, list):
        return None
    entry = next((one for one in entries if isinstance(one, dict) and one.get("id") == server.settings.model), None)
    if entry is None:
        if entries:
            _LOG.warning("%s lists no model of that name; its answers will show whether it has one", server.name)
        return None
    return _context(entry)


def _context(entry: dict[str, Any]) -> int | None:
    found = (entry.get(name) for name in _CONTEXT_FIELDS)
    return next((value for value in found if isinstance(value, int) and value > 0), None)
