"""Any endpoint that speaks OpenAI's chat API: one request, asked again while it is merely busy. Never logs a key."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from serve_app.core import ConfigError, EngineError, HeadraceError, Overloaded, RequestError

if TYPE_CHECKING:
    import httpx

_PATH = "/chat/completions"
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 60.0
_BUSY = frozenset({408, 409, 425, 429})
_NOT_LET_IN = frozenset({401, 403, 404})


@dataclass
class ChatEndpoint:
    """One server. Use as an async context manager; safe for concurrent calls within it."""

    url: str
    """Its address, with or without `/v1` and `/chat/completions`."""
    key_env: str | None = None
    """Name of the environment variable that holds the API key; None: the server asks for none."""
    timeout_s: float = 120.0
    max_retries: int = 5
    transport: httpx.AsyncBaseTransport | None = field(default=None, repr=False)
    """Instead of the network; for tests."""
    sleep: Callable[[float], Awaitable[None]] = field(default=asyncio.sleep, repr=False)

    async def __aenter__(self) -> Self:
        """Raises ConfigError for an address or a key that cannot be used."""
        import httpx

        self._address = _address(self.url)
        headers = {"authorization": f"Bearer {_key(self.key_env)}"} if self.key_env else {}
        self._client = httpx.AsyncClient(timeout=self.timeout_s, headers=headers, transport=self.transport)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the connections."""
        await self._client.aclose()

    async def complete(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The server's answer to a chat request that is not streamed.

        A server that is busy, failing or silent is asked again, `max_retries` times at most, after waits that double
        and vary by chance, and are no shorter than it asks for. Raises RequestError when it refuses the request,
        ConfigError when it refuses the key, the address or the model, EngineError when it cannot answer.
        """
        for attempt in range(self.max_retries):
            try:
                return await self._once(body)
            except Overloaded as busy:
                longest_s = min(_FIRST_WAIT_S * 2**attempt, _LONGEST_WAIT_S)
                await self.sleep(min(busy.retry_after_s, _LONGEST_WAIT_S) + longest_s * random.uniform(0.5, 1))
        try:
            return await self._once(body)
        except Overloaded as busy:
            raise EngineError(f"{busy}, {self.max_retries + 1} times in a row; try again later.") from busy

    async def _once(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Raises Overloaded for what may pass by itself."""
        import httpx

        try:
            response = await self._client.post(self._address, json=dict(body))
        except httpx.TimeoutException as error:
            raise Overloaded(f"{self._address} did not answer within {self.timeout_s:g} s", 0) from error
        except httpx.TransportError as error:
            raise Overloaded(f"{self._address} cannot be reached ({type(error).__name__})", 0) from error
        if response.is_success:
            return _object(response, self._address)
        raise _failure(response, self._address)


def reply_text(answer: Mapping[str, Any]) -> str:
    """The text of the first choice. Raises EngineError when there is none."""
    try:
        text = answer["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError):
        text = None
    if not isinstance(text, str):
        raise EngineError("The endpoint's answer has no choices.0.message.content; is it a chat model?")
    return text


def _failure(response: httpx.Response, address: str) -> HeadraceError:
    status, said = response.status_code, _said(response)
    if status in _BUSY or status >= 500:
        return Overloaded(f"{address} answered with status {status}{said}", _retry_after_s(response))
    if status in _NOT_LET_IN:
        return ConfigError(f"{address} answered with status {status}{said}; check its address, model and key.")
    told = _error_of(response)
    param, code = (str(told[name]) if told.get(name) else None for name in ("param", "code"))
    return RequestError(f"{address} refused the request with status {status}{said}", param, code)


def _said(response: httpx.Response) -> str:
    """The server's own sentence in brackets; nothing where it is none."""
    message = _error_of(response).get("message")
    return "" if message is None else f" ({str(message)[:300]})"


def _error_of(response: httpx.Response) -> Mapping[str, Any]:
    """OpenAI's error object, or an empty one."""
    try:
        told = response.json()["error"]
    except (ValueError, KeyError, TypeError):
        return {}
    return told if isinstance(told, dict) else {}


def _retry_after_s(response: httpx.Response) -> int:
    seconds = response.headers.get("retry-after", "")
    return int(seconds) if seconds.isdecimal() else 0  # its other form, a date, is no better than our own wait


def _object(response: httpx.Response, address: str) -> dict[str, Any]:
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise EngineError(f"{address} answered with something else than a JSON object; is it a chat endpoint?")
    return answer


def _address(url: str) -> str:
    """The full address of an endpoint.

    >>> _address("http://127.0.0.1:8000"), _address("https://host/v1/")
    ('http://127.0.0.1:8000/v1/chat/completions', 'https://host/v1/chat/completions')
    """
    import httpx

    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ConfigError(f"The address of the endpoint cannot be read: {error}.") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ConfigError("An endpoint's address begins with http:// or https:// and names a host.")
    if parsed.userinfo or parsed.query:
        raise ConfigError("An endpoint's address may hold no user, password or query; name the key's variable.")
    path = parsed.path.rstrip("/").removesuffix(_PATH)
    return str(parsed.copy_with(path=(path or "/v1") + _PATH))


def _key(variable: str) -> str:
    key = os.environ.get(variable, "").strip()
    if not key:
        raise ConfigError(f"The environment variable {variable} is to hold an API key, and is not set.")
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(f"The environment variable {variable} holds characters that no HTTP header can carry.")
    return key
