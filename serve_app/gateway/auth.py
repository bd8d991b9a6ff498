"""API keys: `Authorization: Bearer KEY`. A request is accounted under the key's name, never under the key."""

import hmac
from collections.abc import Mapping

from pydantic import SecretStr
from starlette.requests import Request

from serve_app.gateway.errors import Unauthorized


class Keys:
    """The configured keys. With none, every request passes and has no name."""

    def __init__(self, api_keys: Mapping[str, SecretStr]) -> None:
        self._keys = {name: key.get_secret_value().encode() for name, key in api_keys.items()}

    async def __call__(self, request: Request) -> None:
        """A FastAPI dependency: sets `request.state.key_id`. Raises Unauthorized."""
        request.state.key_id = self.name_of(request.headers.get("authorization", ""))

    def name_of(self, header: str) -> str | None:
        """The name of the key in an Authorization header. Raises Unauthorized.

        All keys are compared in full, so that the time taken tells nothing about them.
        """
        if not self._keys:
            return None
        scheme, _, given = header.partition(" ")
        given = given.strip(" \t")
        if scheme.lower() != "bearer" or not given:
            raise Unauthorized("No API key was given; send it as `Authorization: Bearer KEY`.")
        offered = given.encode("latin-1")  # header text is the bytes that were sent, read as Latin-1
        matches = [name for name, key in self._keys.items() if hmac.compare_digest(key, offered)]
        if not matches:
            raise Unauthorized("The API key is not one of this server's keys.")
        return matches[0]
