"""GET /v1/checklist: the production checklist, run on this server's own settings and pages.

For admin keys: it names files and machines.
"""

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from typing import Annotated, Any, Literal

import httpx
from fastapi import APIRouter, Query, Request

from serve_app.core import HeadraceError
from serve_app.gateway.error_codes import ADMIN_CODES, errors
from serve_app.gateway.schemas.server import ChecklistRun
from serve_app.gateway.schemas.shown import shown
from serve_app.gateway.services import Services, services_of

Profile = Literal["demo", "production"]


router = APIRouter(prefix="/v1/checklist", tags=["checklist"])


@router.get("", response_model=shown(ChecklistRun), responses=errors(*ADMIN_CODES, "invalid_value"))
async def checklist(
    request: Request,
    profile: Annotated[Profile, Query(description="What is asked for.")] = "production",
) -> dict[str, Any]:
    """Run the production checklist on this server.

    Every item comes with what was seen and what mends it. It takes seconds; the server goes on answering.
    """
    services = services_of(request)
    async with services.checking:
        return await asyncio.to_thread(_run, services, profile, _Pages(request))


def _run(services: Services, profile: Profile, pages: "_Pages") -> dict[str, Any]:
    """In a thread with a loop of its own: checks read files."""
    from serve_app.checklist import Facts, run
    from serve_app.checklist.facts import Server
    from serve_app.checklist.render import as_json

    facts = Facts(services.settings, profile, Path.cwd(), Server(pages.page))
    return as_json(asyncio.run(run(facts)), profile)


class _Pages:
    """This app's own pages, as whoever asked may see them. Made in the app's loop, asked from another one."""

    def __init__(self, request: Request) -> None:
        self._app, self._loop = request.app, asyncio.get_running_loop()
        self._headers = {name: value for name, value in request.headers.items() if name == "authorization"}

    def page(self, path: str) -> Awaitable[dict[str, Any]]:
        """The JSON object at a path. Raises HeadraceError where it is refused."""
        return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._page(path), self._loop))

    async def _page(self, path: str) -> dict[str, Any]:
        transport = httpx.ASGITransport(self._app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://headrace") as http:
            answer = await http.get(path, headers=self._headers)
        body: dict[str, Any] = answer.json()
        if answer.is_success or path == "/readyz":
            return body
        raise HeadraceError(str(body.get("error", {}).get("message", f"{path} answered {answer.status_code}.")))
