"""Bounds of one replica: how large a body may be, and how many queries are answered at once."""

from collections.abc import Iterator
from contextlib import contextmanager

from starlette.requests import Request

from serve_app.core import Overloaded
from serve_app.gateway.errors import BodyTooLarge


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The whole body, counted while it is read. Raises BodyTooLarge as soon as it is known to be, and no byte later."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > max_bytes:
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


class InFlight:
    """Counts the queries being answered. For one event loop."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self.num_queries = 0

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Hold a place. Raises Overloaded when all are taken."""
        if self.num_queries >= self._bound:
            raise Overloaded(f"This gateway already answers {self._bound} queries; try again later.")
        self.num_queries += 1
        try:
            yield
        finally:
            self.num_queries -= 1
