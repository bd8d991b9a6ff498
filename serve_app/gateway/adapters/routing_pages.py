"""/v1/routing: which router answers, and which adapter each of its labels gets. For admin keys.

All pages answer 404 where the graph has no registry.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from pydantic_core import from_json

from serve_app.adapters.registry.routing import ROUTER_FILES, Routing, digest_of
from serve_app.core import ConfigError, DataError, RequestError
from serve_app.gateway.adapters.routing import RoutingBook, routes_of
from serve_app.gateway.adapters.routing_body import RoutingBody
from serve_app.gateway.adapters.upload import read_form
from serve_app.gateway.error_codes import ADMIN_CODES, BODY_CODES, errors
from serve_app.gateway.errors import NotFound
from serve_app.gateway.forms import is_form
from serve_app.gateway.limits import read_body
from serve_app.gateway.openapi import body_of, form_schema
from serve_app.gateway.parse import json_object, validated
from serve_app.gateway.schemas.registry import RoutingInForce
from serve_app.gateway.schemas.shown import shown
from serve_app.gateway.services import Services, services_of

_MAX_ROUTER_BYTES = 64 * 2**20
_HISTORY = 20
_READ_CODES = (*ADMIN_CODES, "not_found", "overloaded", "engine_error")
"""The router is asked for its digest."""
_CHANGE_CODES = (*_READ_CODES, *BODY_CODES, "invalid_form", "router_rejected", "conflict")


_FILES = f"A new router: {' and '.join(ROUTER_FILES)}."
_FORM = form_schema(RoutingBody, _FILES, len(ROUTER_FILES), without=("router",))

router = APIRouter(prefix="/v1/routing", tags=["routing"])


@router.get("", response_model=shown(RoutingInForce), responses=errors(*_READ_CODES))
async def routing(request: Request) -> dict[str, Any]:
    """Say what is in force."""
    services = services_of(request)
    return await _told(services, await _book(services).source.routing_since(-1) or Routing())


@router.patch(
    "",
    openapi_extra=body_of(RoutingBody, _FORM),
    response_model=shown(RoutingInForce),
    responses=errors(*_CHANGE_CODES),
)
async def change(request: Request) -> dict[str, Any]:
    """Change routes, the default or the router.

    What is left out stays, null goes back to the settings. With a form a new router comes along; one replica of the
    router loads it first, and what cannot be loaded changes nothing.
    """
    services = services_of(request)
    found = _book(services)
    body, files = await _wanted(request, services.settings.gateway.max_body_bytes)
    if files is not None:
        await _tried(found, files)
    before = await found.source.routing_since(-1) or Routing()
    wanted = _merged(before, body, routes_of(services.settings.routes, before).adapters)
    if files is not None:
        wanted = replace(wanted, router=await asyncio.to_thread(digest_of, files))
    wanted = replace(wanted, actor=request.state.key_id or "open", detail=body.detail)
    after = before.revision if body.after is None else body.after
    return await _told(services, await found.source.routing_apply(wanted, files, after))


def _book(services: Services) -> RoutingBook:
    if services.routing is None:
        raise NotFound("This server's routing is that of its settings and cannot be changed.", "routing")
    return services.routing


async def _told(services: Services, routing: Routing) -> dict[str, Any]:
    """This gateway goes by a change at once, the others follow."""
    found = _book(services)
    found.take(routing)
    routes, trial = routes_of(services.settings.routes, routing), found.trial
    return {
        "object": "routing",
        "revision": routing.revision,
        "routes": dict(routes.adapters),
        "default": routes.default,
        "not_served": services.missing_routes(),
        "router": routing.router,
        "answering": None if trial is None else await trial.artifact_digest(),
        "history": [_line(one) for one in await found.source.routing_history(_HISTORY)],
    }


async def _wanted(request: Request, max_body_bytes: int) -> tuple[RoutingBody, Mapping[str, bytes] | None]:
    """The request's fields, and the router's files where it brought them. Raises RequestError."""
    if not is_form(request):
        return validated(RoutingBody, json_object(await read_body(request, max_body_bytes))), None
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="headrace-router-"))
    try:
        upload = await read_form(request, folder, _MAX_ROUTER_BYTES, ROUTER_FILES)
        if set(upload.files) != set(ROUTER_FILES):
            raise RequestError(f"files must be {' and '.join(ROUTER_FILES)}; send both.", "files", "invalid_value")
        files = {name: await asyncio.to_thread((folder / name).read_bytes) for name in ROUTER_FILES}
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
    fields = dict(upload.fields)
    if "routes" in fields:
        try:
            fields["routes"] = from_json(fields["routes"])
        except ValueError as error:
            raise RequestError(f"routes is not valid JSON: {error}.", "routes", "invalid_json") from None
    return validated(RoutingBody, fields), files


async def _tried(book: RoutingBook, files: Mapping[str, bytes]) -> None:
    if book.trial is None:
        raise NotFound("This graph has no router.", "files")
    try:
        await book.trial.trial(files)
    except (DataError, ConfigError) as error:
        raise RequestError(str(error), "files", "router_rejected") from error


def _merged(before: Routing, body: RoutingBody, routes: Mapping[str, str]) -> Routing:
    """What was in force, with what the body names changed."""
    changed = before
    if "routes" in body.model_fields_set:
        if body.routes is None:
            changed = replace(changed, routes=None)
        else:
            merged = {**routes, **body.routes}
            changed = replace(changed, routes={label: name for label, name in merged.items() if name is not None})
    if "default" in body.model_fields_set:
        changed = replace(changed, fallback=body.default)
    if "router" in body.model_fields_set:
        changed = replace(changed, router=body.router)
    return changed


def _line(routing: Routing) -> dict[str, Any]:
    return {
        "revision": routing.revision,
        "at": routing.at_s,
        "actor": routing.actor,
        "routes": None if routing.routes is None else dict(routing.routes),
        "default": routing.fallback,
        "router": routing.router,
        "detail": routing.detail,
    }
