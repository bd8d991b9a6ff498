"""Any endpoint that speaks OpenAI's chat API: one request, asked again while it is merely busy. Never logs a key."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from serve_app.core import ConfigError, EngineError, HeadraceError, Overloaded, RequestError
from serve_app.endpoints import api_root, key_of, read_refusal, retry_after_s

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

        self._address = api_root(self.url) + _PATH
        headers = {"authorization": f"Bearer {key_of(self.key_env)}"} if self.key_env else {}
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
        and vary by chance, and are no shorter than it asks for, up to a minute.

        Raises RequestError when it refuses the request, ConfigError when it refuses the key, the address or the model,
        EngineError when it cannot answer.
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
    status, refusal = response.status_code, read_refusal(response.status_code, response.content)
    if status in _BUSY or status >= 500:
        return Overloaded(f"{address} answered with {refusal}", math.ceil(retry_after_s(response.headers) or 0))
    if status in _NOT_LET_IN:
        return ConfigError(f"{address} answered with {refusal}; check its address, model and key.")
    return RequestError(f"{address} refused the request with {refusal}", refusal.param, refusal.code)


def _object(response: httpx.Response, address: str) -> dict[str, Any]:
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise EngineError(f"{address} answered with something else than a JSON object; is it a chat endpoint?")
    return answer
