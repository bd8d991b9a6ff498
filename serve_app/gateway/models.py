"""GET /v1/models: the names that may be asked for, and what stands behind each."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request

from serve_app.core import RESERVED_MODELS
from serve_app.gateway.error_codes import KEY_CODES, errors
from serve_app.gateway.schemas.server import Model, ModelList
from serve_app.gateway.schemas.shown import shown
from serve_app.gateway.services import Services, services_of

router = APIRouter(prefix="/v1/models", tags=["models"])


@router.get("", response_model=shown(ModelList), responses=errors(*KEY_CODES))
async def models(request: Request) -> dict[str, Any]:
    """List the names that this key may ask for."""
    services, key = services_of(request), request.state.key
    names = [name for name in services.table.names if key is None or key.may_ask(name)]
    return {"object": "list", "data": [_entry(services, name) for name in names]}


@router.get(
    "/{name:path}",
    response_model=shown(Model),
    responses=errors(*KEY_CODES, "model_not_permitted", "model_not_found"),
)
async def model(request: Request, name: Annotated[str, Path(description="A name of the list.")]) -> dict[str, Any]:
    """Say what stands behind one name."""
    services = services_of(request)
    services.find(name, request.state.key)
    return _entry(services, name)


def _entry(services: Services, name: str) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": services.began_s,
        "owned_by": "headrace",
        "headrace": {"kind": _kind(name), "model": _answering(services, name), **_versions(services, name)},
    }


def _kind(name: str) -> str:
    """`base`, `large`, `graph` for a pattern over several nodes, else `adapter`."""
    if name in ("base", "large"):
        return name
    return "graph" if name in RESERVED_MODELS else "adapter"


def _versions(services: Services, name: str) -> dict[str, Any]:
    """Of an adapter of the registry: the version that the name stands for, and the one that is tried beside it."""
    found = services.book.served(name) if services.book else None
    if found is None:
        return {}
    canary = None if found.canary is None else {"version": found.canary, "weight": found.canary_weight}
    return {"version": found.live, "canary": canary}


def _answering(services: Services, name: str) -> str | None:
    """The model that answers; None where the graph decides."""
    kind = _kind(name)
    if kind == "graph":
        return None
    return services.settings.fallback.model if kind == "large" else services.settings.specialists.model
