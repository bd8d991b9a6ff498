"""API keys: `Authorization: Bearer KEY`. A request is accounted under the key's name, never under the key."""

from starlette.requests import Request

from serve_app.gateway.errors import Unauthorized
from serve_app.gateway.services import services_of
from serve_app.keys import Key, KeyRing


async def any_key(request: Request) -> None:
    """A FastAPI dependency that lets any key pass. Without any, set or stored, the server is open: everybody passes.

    Sets `request.state.key`, a `keys.Key`, and `request.state.key_id`, its name; both None where the server is open,
    which gives admin rights. Raises Unauthorized, and LedgerError while the stored keys cannot be read.
    """
    key = await key_of(services_of(request).keys, request.headers.get("authorization", ""))
    request.state.key, request.state.key_id = key, None if key is None else key.key_id


async def admin_key(request: Request) -> None:
    """The same for pages that show or change what is everybody's. Raises NotPermitted for a user key."""
    await any_key(request)
    if request.state.key is not None:
        request.state.key.check_admin()


async def key_of(ring: KeyRing, header: str) -> Key | None:
    """The key in an Authorization header; None where the server is open, whatever was sent. Raises Unauthorized."""
    if await ring.opened():
        return None
    key = await ring.find(offered_secret(header))
    if key is None:
        raise Unauthorized("The API key is not one of this server's keys.")
    return key


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
