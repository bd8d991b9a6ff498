"""Puts the gateway together. A function, not a module-level app: Ray Serve pickles what it finds at import."""

from collections.abc import Awaitable, Callable
from typing import Any, cast

from fastapi import Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from serve_app import __version__
from serve_app.core import HeadraceError
from serve_app.dashboard import dashboard_routes
from serve_app.gateway.accounts import account_routes
from serve_app.gateway.adapters.routes import adapter_routes
from serve_app.gateway.adapters.routing_pages import routing_routes
from serve_app.gateway.auth import Access
from serve_app.gateway.checklist import checklist_routes
from serve_app.gateway.documents.routes import document_routes
from serve_app.gateway.errors import on_client_left, on_error, on_http_error, on_invalid_query_string
from serve_app.gateway.health import health_routes
from serve_app.gateway.limits import HeaderLimit
from serve_app.gateway.models import model_routes
from serve_app.gateway.openapi import TAGS, DescribedApp
from serve_app.gateway.queries import query_routes
from serve_app.gateway.services import Services
from serve_app.gateway.status import status_routes

Handler = Callable[[Request, Exception], Awaitable[Response]]


def create_app(services: Services) -> FastAPI:
    """The ASGI application over these services. The caller opens and closes them."""
    app = _with_pages(services)
    max_header_bytes = services.settings.gateway.max_header_bytes
    app.add_middleware(HeaderLimit, max_bytes=max_header_bytes, refused=services.metrics.refused)
    _handle_errors(app, services)
    return app


def description() -> dict[str, Any]:
    """What /openapi.json says on every server, without one: no page asks its services before it is asked itself."""
    return _with_pages(cast(Services, _Unasked())).openapi()


class _Unasked:
    """Stands where pages keep their services."""

    keys = None


def _with_pages(services: Services) -> FastAPI:
    app = DescribedApp(
        title="Headrace",
        version=__version__,
        openapi_tags=TAGS,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    access = Access(services.keys)
    with_key = [Depends(access)]
    for admin_routes in (adapter_routes, routing_routes, checklist_routes):
        app.include_router(admin_routes(services), dependencies=[Depends(access.admin_only)])
    for routes in (query_routes, model_routes, account_routes, status_routes, document_routes):
        app.include_router(routes(services), dependencies=with_key)
    app.include_router(health_routes(services))
    app.include_router(dashboard_routes())
    return app


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
