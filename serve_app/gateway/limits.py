"""Bounds of one replica: how large a body may be, and how many queries are answered at once."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app.core import Overloaded, Tier
from serve_app.gateway.errors import BodyTooLarge, HeadersTooLarge, error_response

_FLEX_RETRY_S = 5
_LENGTH_DIGITS = 18
"""Of a Content-Length that is read at all: more are too many bytes, and Python refuses to read thousands of them."""


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The whole body, counted while it is read. Raises BodyTooLarge as soon as it is known to be, and no byte later."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and (len(declared) > _LENGTH_DIGITS or int(declared) > max_bytes):
        raise _too_large(max_bytes)
    chunks, num_bytes = [], 0
    async for chunk in request.stream():
        num_bytes += len(chunk)
        if num_bytes > max_bytes:
            raise _too_large(max_bytes)
        chunks.append(chunk)
    return b"".join(chunks)


def _too_large(max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"The request body is larger than {max_bytes} bytes; send less.", None, "body_too_large")


class HeaderLimit:
    """ASGI middleware: refuses a request whose headers are larger, before anything of it is read."""

    def __init__(self, app: ASGIApp, max_bytes: int, refused: Callable[[int], None]) -> None:
        """`refused` is told the HTTP status of each refusal."""
        self._app, self._max_bytes, self._refused = app, max_bytes, refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or answer 431."""
        if (
            scope["type"] == "http"
            and sum(len(name) + len(value) for name, value in scope["headers"]) > self._max_bytes
        ):
            error = HeadersTooLarge(
                f"The request headers are larger than {self._max_bytes} bytes; send less.", None, "headers_too_large"
            )
            response = error_response(error)
            self._refused(response.status_code)
            await response(scope, receive, send)
            return
        await self._app(scope, receive, send)


class InFlight:
    """Counts the queries being answered. For one event loop."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self.num_queries = 0

    @contextmanager
    def enter(self, tier: Tier = "default") -> Iterator[None]:
        """Hold a place. Raises Overloaded when all are taken; half of them are kept from the flex tier."""
        if self.num_queries >= self._bound:
            raise Overloaded(f"This gateway already answers {self._bound} queries; try again later.")
        if tier == "flex" and self.num_queries * 2 >= self._bound:
            raise Overloaded("No capacity is left for the flex tier now; try again later.", _FLEX_RETRY_S)
        self.num_queries += 1
        try:
            yield
        finally:
            self.num_queries -= 1
