"""Puts the gateway together.

A function, not a module-level app: each replica has services of its own. Pages are of their modules, and find the
services of the app that is asked.
"""

from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from serve_app import __version__
from serve_app.core import HeadraceError
from serve_app.dashboard import dashboard_routes
from serve_app.gateway import accounts, checklist, health, models, queries, status
from serve_app.gateway.adapters import routes as adapter_pages
from serve_app.gateway.adapters import routing_pages
from serve_app.gateway.auth import admin_key, any_key
from serve_app.gateway.documents import routes as document_pages
from serve_app.gateway.errors import on_client_left, on_error, on_http_error, on_invalid_query_string
from serve_app.gateway.limits import HeaderLimit
from serve_app.gateway.openapi import TAGS, DescribedApp
from serve_app.gateway.services import Services

Handler = Callable[[Request, Exception], Awaitable[Response]]


def create_app(services: Services) -> FastAPI:
    """The ASGI application over these services. The caller opens and closes them."""
    app = _app()
    app.state.services = services  # pages find them by `services_of`
    max_header_bytes = services.settings.gateway.max_header_bytes
    app.add_middleware(HeaderLimit, max_bytes=max_header_bytes, refused=services.metrics.refused)
    _handle_errors(app, services)
    return app


def description() -> dict[str, Any]:
    """What /openapi.json says on every server."""
    return _app().openapi()


def _app() -> DescribedApp:
    return DescribedApp(
        title="Headrace",
        version=__version__,
        openapi_tags=TAGS,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        routes=_pages().routes,
    )


@cache
def _pages() -> APIRouter:
    """All pages, with who may call them; made once in a process, since FastAPI takes milliseconds for each.

    They go to an app by its `routes`: `include_router` would make each of them anew for every app.
    """
    pages = APIRouter()
    for part in (queries, models, accounts, status, document_pages):
        pages.include_router(part.router, dependencies=[Depends(any_key)])
    for part in (adapter_pages, routing_pages, checklist):
        pages.include_router(part.router, dependencies=[Depends(admin_key)])
    pages.include_router(health.router)
    pages.include_router(dashboard_routes())
    return pages


def _handle_errors(app: FastAPI, services: Services) -> None:
    def counted(handler: Handler) -> Handler:
        async def handle(request: Request, error: Exception) -> Response:
            response = await handler(request, error)
            services.metrics.refused(response.status_code)
            return response

        return handle

    app.add_exception_handler(HeadraceError, counted(on_error))
    app.add_exception_handler(Exception, counted(on_error))
    app.add_exception_handler(HTTPException, counted(on_http_error))
    app.add_exception_handler(RequestValidationError, counted(on_invalid_query_string))
    app.add_exception_handler(ClientDisconnect, on_client_left)
