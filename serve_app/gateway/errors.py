"""Every error as OpenAI writes it: {"error": {"message", "type", "param", "code"}}, with the status clients expect."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from serve_app.cache import KeyReused
from serve_app.core import (
    BudgetExceeded,
    CollectionNotFound,
    DeadlineExceeded,
    EngineError,
    HeadraceError,
    LedgerError,
    ModelNotFound,
    Overloaded,
    RequestError,
    RetrieverError,
    RetryLater,
)
from serve_app.gateway.ids import QUERY_ID_HEADER
from serve_app.keys import NotPermitted

_LOG = logging.getLogger(__name__)

CLIENT_LEFT = 499
"""Status for the log of a request whose client went away before it was read."""


class Unauthorized(RequestError):
    """No key, or a wrong one."""


class BodyTooLarge(RequestError):
    """The body exceeds the configured bound."""


class HeadersTooLarge(RequestError):
    """The headers exceed the configured bound."""


class NotFound(RequestError):
    """No such record."""


class StoreAway(HeadraceError):
    """The artefact store cannot be reached; the same request may succeed later."""


class PublishTimeout(HeadraceError):
    """Publishing an adapter took too long; the same request goes on from where it ended."""


class Fault(HeadraceError):
    """A bug of ours, as the client may see it; the cause is in the log."""

    def __init__(self) -> None:
        super().__init__("The server failed while answering; its log has the details.")


@dataclass(frozen=True, slots=True)
class _Kind:
    """How one class of errors is reported."""

    status: int
    type: str
    code: str | None = None
    """Where the error itself names none."""
    headers: Mapping[str, str] = field(default_factory=dict)


_KINDS: dict[type[Exception], _Kind] = {
    Unauthorized: _Kind(401, "invalid_request_error", "invalid_api_key", {"www-authenticate": "Bearer"}),
    BodyTooLarge: _Kind(413, "invalid_request_error", headers={"connection": "close"}),
    ModelNotFound: _Kind(404, "invalid_request_error", "model_not_found"),
    CollectionNotFound: _Kind(404, "invalid_request_error", "collection_not_found"),
    NotFound: _Kind(404, "invalid_request_error", "not_found"),
    NotPermitted: _Kind(403, "invalid_request_error", "not_permitted"),
    KeyReused: _Kind(409, "invalid_request_error", "idempotency_key_reused"),
    HeadersTooLarge: _Kind(431, "invalid_request_error", headers={"connection": "close"}),
    RequestError: _Kind(400, "invalid_request_error", "invalid_value"),
    BudgetExceeded: _Kind(429, "rate_limit_error", "budget_exceeded"),
    Overloaded: _Kind(429, "rate_limit_error", "overloaded"),
    StoreAway: _Kind(503, "server_error", "artefact_store_error"),
    PublishTimeout: _Kind(504, "server_error", "publish_timeout"),
    DeadlineExceeded: _Kind(504, "server_error", "deadline_exceeded"),
    EngineError: _Kind(503, "server_error", "engine_error"),
    RetrieverError: _Kind(503, "server_error", "retriever_error"),
    LedgerError: _Kind(503, "server_error", "ledger_error"),
    HeadraceError: _Kind(500, "server_error", "internal_error"),
    Exception: _Kind(500, "server_error", "internal_error"),
}


_CONFLICT = _Kind(409, "invalid_request_error", "conflict")


def _kind(error: Exception) -> _Kind:
    """The most special entry that fits."""
    if isinstance(error, RequestError) and error.code == "conflict":
        return _CONFLICT
    return next(_KINDS[cls] for cls in type(error).__mro__ if cls in _KINDS)


def error_object(error: Exception) -> dict[str, Any]:
    """The body of an error answer, also sent as the last event of a stream that failed.

    The text of what is not a HeadraceError is for the log, not for the client.
    """
    kind = _kind(error)
    message = str(error if isinstance(error, HeadraceError) else Fault())
    param, code = (error.param, error.code) if isinstance(error, RequestError) else (None, None)
    return {"error": {"message": message, "type": kind.type, "param": param, "code": code or kind.code}}


def error_response(error: Exception, query_id: str | None = None) -> JSONResponse:
    """The whole HTTP answer to an error; logs what the operator has to see."""
    kind = _kind(error)
    log_error(error, query_id)
    headers = dict(kind.headers)
    if isinstance(error, RetryLater):
        headers["retry-after"] = str(error.retry_after_s)
    if query_id:
        headers[QUERY_ID_HEADER] = query_id
    return JSONResponse(error_object(error), kind.status, headers)


def log_error(error: Exception, query_id: str | None) -> None:
    """One line for failures of nodes, a traceback for faults of ours, nothing for mistakes of callers."""
    if _kind(error).status < 500:
        return
    trace = None if isinstance(error, HeadraceError) and not isinstance(error, Fault) else error
    _LOG.error("query %s failed: %s", query_id or "-", error, exc_info=trace)


async def on_error(request: Request, error: Exception) -> Response:
    """For errors raised while a request is handled."""
    return error_response(error, getattr(request.state, "query_id", None))


async def on_http_error(request: Request, error: Exception) -> Response:
    """For what the web framework refuses: unknown pages and wrong methods."""
    assert isinstance(error, HTTPException)
    message, code = {
        404: (f"There is no page {request.method} {request.url.path}.", "not_found"),
        405: (f"{request.url.path} does not take {request.method}.", "method_not_allowed"),
    }.get(error.status_code, (str(error.detail), None))
    body = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}
    return JSONResponse(body, error.status_code, error.headers)


async def on_invalid_query_string(request: Request, error: Exception) -> Response:
    """For values of the query string that FastAPI could not read."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    param = str(first["loc"][-1])
    return await on_error(request, RequestError(f"Invalid {param}: {first['msg']}.", param, "invalid_value"))


async def on_client_left(request: Request, error: Exception) -> Response:
    """Nobody reads this; it keeps a traceback out of the log."""
    assert isinstance(error, ClientDisconnect)
    return Response(status_code=CLIENT_LEFT)
