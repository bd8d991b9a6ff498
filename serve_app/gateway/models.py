"""GET /v1/models: the names that may be asked for, and what stands behind each."""

import time
from typing import Any

from fastapi import APIRouter, Request

from serve_app.core import RESERVED_MODELS
from serve_app.gateway.services import Services


def model_routes(services: Services) -> APIRouter:
    """The list, and one entry of it."""
    router = APIRouter(prefix="/v1/models", tags=["models"])
    created_at_s = int(time.time())

    def entry(name: str) -> dict[str, Any]:
        return {
            "id": name,
            "object": "model",
            "created": created_at_s,
            "owned_by": "headrace",
            "headrace": {"kind": _kind(name), "model": _model(services, name)},
        }

    @router.get("")
    async def models(request: Request) -> dict[str, Any]:
        """The names that this key may ask for."""
        key = request.state.key
        names = [name for name in services.table.patterns if key is None or key.may_ask(name)]
        return {"object": "list", "data": [entry(name) for name in names]}

    @router.get("/{name:path}")
    async def model(request: Request, name: str) -> dict[str, Any]:
        """One name."""
        services.find(name, request.state.key)
        return entry(name)

    return router


def _kind(name: str) -> str:
    """`base`, `large`, `graph` for a pattern over several nodes, else `adapter`."""
    if name in ("base", "large"):
        return name
    return "graph" if name in RESERVED_MODELS else "adapter"


def _model(services: Services, name: str) -> str | None:
    """The model that answers; None where the graph decides."""
    kind = _kind(name)
    if kind == "graph":
        return None
    return services.settings.fallback.model if kind == "large" else services.settings.specialists.model
