"""/v1/adapters: what the registry holds, and every change of it. For admin keys; the audit log has the key's name."""

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
from serve_app.gateway.services import Services

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


def adapter_routes(services: Services) -> APIRouter:
    """All answer 404 where the graph has no registry."""
    router, pages = APIRouter(prefix="/v1/adapters", tags=["adapters"]), _Pages(services)
    router.get("", response_model=shown(AdapterList), responses=_READ)(pages.adapters)
    router.post(
        "",
        status_code=201,
        openapi_extra=body_of(AddBody, _add_form()),
        response_model=shown(AddedVersion),
        responses=_ADD,
    )(pages.add)
    router.get("/audit", response_model=shown(AuditLog), responses=errors(*ADMIN_CODES, "invalid_value", "not_found"))(
        pages.audit
    )
    router.get("/{name}", response_model=shown(AdapterWithTrials), responses=_READ_ONE)(pages.adapter)
    router.get("/{name}/versions", response_model=shown(AdapterVersionList), responses=_READ_ONE)(pages.versions)
    router.patch("/{name}", openapi_extra=body_of(ChangeBody), response_model=shown(AdapterSchema), responses=_CHANGE)(
        pages.change
    )
    router.delete("/{name}", response_model=shown(RetiredAdapter), responses=_READ_ONE)(pages.remove)
    return router


def _add_form() -> dict[str, Any]:
    files = f"The adapter's files, known by their names: {', '.join(NAMES)}."
    return form_schema(AddBody, files, len(NAMES), required=("name",), without=("source",))


class _Pages:
    """One method for each page."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def adapters(self) -> dict[str, Any]:
        """List all adapters of the registry."""
        versions = await self._registry.adapters_all()
        snapshot = await self._snapshot()
        return {"object": "list", "revision": snapshot.revision, "data": adapter_objects(snapshot, versions)}

    async def add(self, request: Request) -> dict[str, Any]:
        """Take a version in.

        It is fetched, checked, published, tried on an engine and staged; then it becomes live, or a canary, where that
        was asked for. Answers when all is done, within five minutes or with an error. The same files again change
        nothing. A version that fails a check or its trial is noted as rejected, with the reason in its report.
        """
        publisher = self._publisher
        folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="headrace-adapter-"))
        try:
            wanted = await self._wanted(request, folder, publisher.max_bytes)
        except BaseException:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            raise
        version = await publisher.publish(folder, wanted)
        return version_object(version) | {"adapter": await self._told(wanted.name)}

    async def audit(
        self,
        limit: Annotated[int, Query(ge=1, le=1000, description="Lines on a page.")] = 50,
        before: Annotated[int | None, Query(description="A revision: lines older than it.")] = None,
        name: Annotated[str | None, Query(description="Of this adapter only.")] = None,
    ) -> dict[str, Any]:
        """Tell who changed what, newest first."""
        entries = await self._registry.adapters_audit(limit, before, name)
        return {"object": "list", "data": [audit_object(entry) for entry in entries]}

    async def adapter(self, name: Name) -> dict[str, Any]:
        """Tell of one adapter, and what the rule says of its canary."""
        return await self._told(name) | {"canary_trials": await self._registry.adapters_canary_report(name)}

    async def versions(self, name: Name) -> dict[str, Any]:
        """List all versions of one adapter with their reports, newest first."""
        return {"object": "list", "data": [version_object(version) for version in await self._known(name)]}

    async def change(self, request: Request, name: Name) -> dict[str, Any]:
        """Change one thing of an adapter.

        The canary's share, a promotion, a rollback, or whether it is pinned. This gateway goes by it at once, the
        others follow.
        """
        body = validated(ChangeBody, json_object(await read_body(request, self._max_body_bytes)))
        return await self._told(name, await self._changed(name, body, _actor(request)))

    async def remove(self, request: Request, name: Name) -> dict[str, Any]:
        """Retire all versions of an adapter.

        What was asked before is answered; the files stay for their retention.
        """
        snapshot = await self._registry.adapters_remove(name, _actor(request))
        return await self._told(name, snapshot) | {"deleted": True}

    @property
    def _registry(self) -> RegistryNode:
        if self._services.registry is None:
            raise NotFound("This server has no adapter registry; its adapters are those of the settings.", "name")
        return self._services.registry

    @property
    def _publisher(self) -> Publisher:
        if self._services.publisher is None:
            raise NotFound("This server takes no new adapters; its engines cannot try one.", "name")
        return self._services.publisher

    @property
    def _max_body_bytes(self) -> int:
        return self._services.settings.gateway.max_body_bytes

    async def _snapshot(self) -> RegistrySnapshot:
        return await self._registry.adapters_since(-1) or RegistrySnapshot()

    async def _known(self, name: str) -> tuple[AdapterVersion, ...]:
        versions = await self._registry.adapters_all(name)
        if not versions:
            raise ModelNotFound(f"There is no adapter {name[:80]!r}; add it first.", "name", "model_not_found")
        return versions

    async def _told(self, name: str, snapshot: RegistrySnapshot | None = None) -> dict[str, Any]:
        """The name as it is now. This gateway goes by the change at once, the others follow."""
        versions = await self._known(name)
        snapshot = snapshot or await self._snapshot()
        if self._services.book is not None:
            self._services.book.take(snapshot)
        return adapter_object(name, snapshot, versions)

    async def _wanted(self, request: Request, folder: Path, max_bytes: int) -> Wanted:
        """What the request asks for; files that it brought are in the folder then. Raises RequestError."""
        if is_form(request):
            upload = await read_form(request, folder, max_bytes)
            body = validated(AddBody, upload.fields)
            if body.source is not None:
                raise RequestError("source goes with no files; send one of the two.", "source", "invalid_value")
            if not upload.files:
                raise RequestError("files is missing; send the adapter's files.", "files", "missing_required_parameter")
        else:
            body = validated(AddBody, json_object(await read_body(request, self._max_body_bytes)))
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

    async def _changed(self, name: str, body: ChangeBody, actor: str) -> RegistrySnapshot:
        registry = self._registry
        if body.canary is not None:
            version = body.version or await self._newest_tried(name)
            return await registry.adapters_canary(name, version, body.canary, actor)
        if body.promote is not None:
            return await registry.adapters_promote(name, None if body.promote is True else body.promote, actor)
        if body.rollback is not None:
            gone = None if body.rollback is True else body.rollback
            return await registry.adapters_rollback(name, actor, version=gone)
        assert body.pin is not None, "the body holds one change"
        return await registry.adapters_pin(name, body.pin, actor)

    async def _newest_tried(self, name: str) -> str:
        """The canary, else the newest version that could become one."""
        versions = await self._known(name)
        for state in ("canary", "staged"):
            for version in versions:
                if version.state == state:
                    return version.version
        raise RequestError(f"{name!r} has no staged version; add one, or name a version.", "version", "conflict")


def _actor(request: Request) -> str:
    return request.state.key_id or _OPEN
