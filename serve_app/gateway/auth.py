"""API keys: `Authorization: Bearer KEY`. A request is accounted under the key's name, never under the key."""

from starlette.requests import Request

from serve_app.gateway.errors import Unauthorized
from serve_app.gateway.services import services_of
from serve_app.keys import Key, KeyRing


class Access:
    """Who asks. Without any key, set or stored, the server is open: every request passes, with admin rights, no name.

    `Depends(access)` lets any key pass; `Depends(access.admin_only)` admin keys. Both set `request.state.key`, a
    `keys.Key` or None, and `request.state.key_id`, its name or None.
    """

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring

    async def __call__(self, request: Request) -> None:
        """A FastAPI dependency. Raises Unauthorized, and LedgerError while the stored keys cannot be read."""
        request.state.key = key = await self.key_of(request.headers.get("authorization", ""))
        request.state.key_id = None if key is None else key.key_id

    async def admin_only(self, request: Request) -> None:
        """The same for pages that show or change what is everybody's. Raises NotPermitted for a user key."""
        await self(request)
        if request.state.key is not None:
            request.state.key.check_admin()

    async def key_of(self, header: str) -> Key | None:
        """The key in an Authorization header; None where the server is open, whatever was sent."""
        if await self._ring.opened():
            return None
        key = await self._ring.find(offered_secret(header))
        if key is None:
            raise Unauthorized("The API key is not one of this server's keys.")
        return key


async def any_key(request: Request) -> None:
    """A FastAPI dependency: `Access` with the keys of the app that is asked."""
    await Access(services_of(request).keys)(request)


async def admin_key(request: Request) -> None:
    """The same for admin keys."""
    await Access(services_of(request).keys).admin_only(request)


def offered_secret(header: str) -> bytes:
    """The key that an Authorization header offers, as the bytes that were sent. Raises Unauthorized.

    >>> offered_secret("Bearer hr-abc")
    b'hr-abc'
    """
    scheme, _, given = header.partition(" ")
    given = given.strip(" \t")
    if scheme.lower() != "bearer" or not given:
        raise Unauthorized("No API key was given; send it as `Authorization: Bearer KEY`.")
    return given.encode("latin-1")  # header text is those bytes, read as Latin-1
