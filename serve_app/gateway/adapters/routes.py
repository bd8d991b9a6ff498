"""/v1/adapters: what the registry holds, and every change of it. For admin keys; the audit log has the key's name.

All pages answer 404 where the graph has no registry.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi import Path as InPath

from serve_app.adapters.registry import AdapterVersion, RegistrySnapshot
from serve_app.adapters.registry.files import NAMES
from serve_app.core import ModelNotFound, RequestError
from serve_app.gateway.adapters.bodies import AddBody, ChangeBody
from serve_app.gateway.adapters.publish import Publisher, RegistryNode, Wanted
from serve_app.gateway.adapters.shapes import adapter_object, adapter_objects, audit_object, version_object
from serve_app.gateway.adapters.upload import read_form
from serve_app.gateway.error_codes import ADMIN_CODES, BODY_CODES, errors
from serve_app.gateway.errors import NotFound
from serve_app.gateway.forms import is_form
from serve_app.gateway.limits import read_body
from serve_app.gateway.openapi import body_of, form_schema
from serve_app.gateway.parse import json_object, validated
from serve_app.gateway.schemas.registry import Adapter as AdapterSchema
from serve_app.gateway.schemas.registry import (
    AdapterList,
    AdapterVersionList,
    AdapterWithTrials,
    AddedVersion,
    AuditLog,
    RetiredAdapter,
)
from serve_app.gateway.schemas.shown import shown
from serve_app.gateway.services import Services, services_of

_OPEN = "open"
"""The audit log's name for a server without keys."""

Name = Annotated[str, InPath(description="Of the adapter.")]

_READ = errors(*ADMIN_CODES, "not_found")
_READ_ONE = errors(*ADMIN_CODES, "not_found", "model_not_found")
_ADD = errors(
    *ADMIN_CODES,
    *BODY_CODES,
    "invalid_form",
    "source_unusable",
    "adapter_rejected",
    "not_found",
    "conflict",
    "overloaded",
    "engine_error",
    "artefact_store_error",
    "publish_timeout",
)
_CHANGE = errors(*ADMIN_CODES, *BODY_CODES, "not_found", "model_not_found", "conflict")


_FILES = f"The adapter's files, known by their names: {', '.join(NAMES)}."
_FORM = form_schema(AddBody, _FILES, len(NAMES), required=("name",), without=("source",))

router = APIRouter(prefix="/v1/adapters", tags=["adapters"])


@router.get("", response_model=shown(AdapterList), responses=_READ)
async def adapters(request: Request) -> dict[str, Any]:
    """List all adapters of the registry."""
    services = services_of(request)
    versions = await _registry(services).adapters_all()
    snapshot = await _snapshot(services)
    return {"object": "list", "revision": snapshot.revision, "data": adapter_objects(snapshot, versions)}


@router.post(
    "", status_code=201, openapi_extra=body_of(AddBody, _FORM), response_model=shown(AddedVersion), responses=_ADD
)
async def add(request: Request) -> dict[str, Any]:
    """Take a version in.

    It is fetched, checked, published, tried on an engine and staged; then it becomes live, or a canary, where that
    was asked for. Answers when all is done, within five minutes or with an error. The same files again change
    nothing. A version that fails a check or its trial is noted as rejected, with the reason in its report.
    """
    services = services_of(request)
    publisher = _publisher(services)
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="headrace-adapter-"))
    try:
        wanted = await _wanted(services, request, folder, publisher.max_bytes)
    except BaseException:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        raise
    version = await publisher.publish(folder, wanted)
    return version_object(version) | {"adapter": await _told(services, wanted.name)}


@router.get("/audit", response_model=shown(AuditLog), responses=errors(*ADMIN_CODES, "invalid_value", "not_found"))
async def audit(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=1000, description="Lines on a page.")] = 50,
    before: Annotated[int | None, Query(description="A revision: lines older than it.")] = None,
    name: Annotated[str | None, Query(description="Of this adapter only.")] = None,
) -> dict[str, Any]:
    """Tell who changed what, newest first."""
    services = services_of(request)
    entries = await _registry(services).adapters_audit(limit, before, name)
    return {"object": "list", "data": [audit_object(entry) for entry in entries]}


@router.get("/{name}", response_model=shown(AdapterWithTrials), responses=_READ_ONE)
async def adapter(request: Request, name: Name) -> dict[str, Any]:
    """Tell of one adapter, and what the rule says of its canary."""
    services = services_of(request)
    return await _told(services, name) | {"canary_trials": await _registry(services).adapters_canary_report(name)}


@router.get("/{name}/versions", response_model=shown(AdapterVersionList), responses=_READ_ONE)
async def versions(request: Request, name: Name) -> dict[str, Any]:
    """List all versions of one adapter with their reports, newest first."""
    services = services_of(request)
    return {"object": "list", "data": [version_object(version) for version in await _known(services, name)]}


@router.patch("/{name}", openapi_extra=body_of(ChangeBody), response_model=shown(AdapterSchema), responses=_CHANGE)
async def change(request: Request, name: Name) -> dict[str, Any]:
    """Change one thing of an adapter.

    The canary's share, a promotion, a rollback, or whether it is pinned. This gateway goes by it at once, the
    others follow.
    """
    services = services_of(request)
    body = validated(ChangeBody, json_object(await read_body(request, services.settings.gateway.max_body_bytes)))
    return await _told(services, name, await _changed(services, name, body, _actor(request)))


@router.delete("/{name}", response_model=shown(RetiredAdapter), responses=_READ_ONE)
async def remove(request: Request, name: Name) -> dict[str, Any]:
    """Retire all versions of an adapter.

    What was asked before is answered; the files stay for their retention.
    """
    services = services_of(request)
    snapshot = await _registry(services).adapters_remove(name, _actor(request))
    return await _told(services, name, snapshot) | {"deleted": True}


def _registry(services: Services) -> RegistryNode:
    if services.registry is None:
        raise NotFound("This server has no adapter registry; its adapters are those of the settings.", "name")
    return services.registry


def _publisher(services: Services) -> Publisher:
    if services.publisher is None:
        raise NotFound("This server takes no new adapters; its engines cannot try one.", "name")
    return services.publisher


async def _snapshot(services: Services) -> RegistrySnapshot:
    return await _registry(services).adapters_since(-1) or RegistrySnapshot()


async def _known(services: Services, name: str) -> tuple[AdapterVersion, ...]:
    versions = await _registry(services).adapters_all(name)
    if not versions:
        raise ModelNotFound(f"There is no adapter {name[:80]!r}; add it first.", "name", "model_not_found")
    return versions


async def _told(services: Services, name: str, snapshot: RegistrySnapshot | None = None) -> dict[str, Any]:
    """The name as it is now. This gateway goes by the change at once, the others follow."""
    versions = await _known(services, name)
    snapshot = snapshot or await _snapshot(services)
    if services.book is not None:
        services.book.take(snapshot)
    return adapter_object(name, snapshot, versions)


async def _wanted(services: Services, request: Request, folder: Path, max_bytes: int) -> Wanted:
    """What the request asks for; files that it brought are in the folder then. Raises RequestError."""
    if is_form(request):
        upload = await read_form(request, folder, max_bytes)
        body = validated(AddBody, upload.fields)
        if body.source is not None:
            raise RequestError("source goes with no files; send one of the two.", "source", "invalid_value")
        if not upload.files:
            raise RequestError("files is missing; send the adapter's files.", "files", "missing_required_parameter")
    else:
        body = validated(AddBody, json_object(await read_body(request, services.settings.gateway.max_body_bytes)))
        if body.source is None:
            raise RequestError("source is missing.", "source", "missing_required_parameter")
    return Wanted(
        name=body.name,
        source=body.source,
        actor=_actor(request),
        base_override=body.base_override,
        live=body.live,
        canary=body.canary,
        pin=body.pin,
    )


async def _changed(services: Services, name: str, body: ChangeBody, actor: str) -> RegistrySnapshot:
    registry = _registry(services)
    if body.canary is not None:
        version = body.version or await _newest_tried(services, name)
        return await registry.adapters_canary(name, version, body.canary, actor)
    if body.promote is not None:
        return await registry.adapters_promote(name, None if body.promote is True else body.promote, actor)
    if body.rollback is not None:
        gone = None if body.rollback is True else body.rollback
        return await registry.adapters_rollback(name, actor, version=gone)
    assert body.pin is not None, "the body holds one change"
    return await registry.adapters_pin(name, body.pin, actor)


async def _newest_tried(services: Services, name: str) -> str:
    """The canary, else the newest version that could become one."""
    versions = await _known(services, name)
    for state in ("canary", "staged"):
        for version in versions:
            if version.state == state:
                return version.version
    raise RequestError(f"{name!r} has no staged version; add one, or name a version.", "version", "conflict")


def _actor(request: Request) -> str:
    return request.state.key_id or _OPEN
