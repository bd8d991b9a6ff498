"""Bounds of one request: how large its headers and its body may be."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app.gateway.errors import BodyTooLarge, HeadersTooLarge, error_response

_LENGTH_DIGITS = 18
"""Of a Content-Length that is read at all: more are too many bytes, and Python refuses to read thousands of them."""


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The whole body, counted while it is read. Raises BodyTooLarge as soon as it is known to be, and no byte later."""
    async with aclosing(counted(request, max_bytes)) as stream:
        return b"".join([chunk async for chunk in stream])


async def counted(request: Request, max_bytes: int, too_large: BodyTooLarge | None = None) -> AsyncGenerator[bytes]:
    """The body as it comes. Raises `too_large`, or a sentence of its own, as soon as more is known to come."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and (len(declared) > _LENGTH_DIGITS or int(declared) > max_bytes):
        raise too_large or _too_large(max_bytes)
    num_bytes = 0
    async with aclosing(request.stream()) as stream:
        async for chunk in stream:
            num_bytes += len(chunk)
            if num_bytes > max_bytes:
                raise too_large or _too_large(max_bytes)
            yield chunk


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
