"""Idempotency-Key: a request that is sent again gets the answer of the first time, and is not run or billed again.

A client repeats a request when it does not know whether the first one arrived. The first with a key runs; the others
wait for it and get its bytes. Where it fails, or its client leaves, one of those who wait runs it. Answers are kept per
gateway, in memory: a repetition that reaches another gateway, or comes after a restart, is run again.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from serve_app.core import RequestError

HEADER = "idempotency-key"
MAX_KEY_CHARS = 255
TTL_S = 24 * 3600.0
MAX_BYTES = 16 * 1024 * 1024
"""Bound on the answers that are kept; beyond it the oldest go."""

_ENTRY_BYTES = 1024


class KeyReused(RequestError):
    """The same Idempotency-Key came with another request; HTTP status 409."""


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A response as it was sent, streamed or not."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    @property
    def num_bytes(self) -> int:
        """In memory, about."""
        return len(self.body) + sum(len(name) + len(value) + 128 for name, value in self.headers)


@dataclass(eq=False, slots=True)
class _Entry:
    """One key's request. `response` None: it runs, and `ended` is set when it no longer does."""

    request_digest: bytes
    ended: asyncio.Event
    response: StoredResponse | None = None
    expires_s: float = 0.0


class Claim:
    """The right, and the duty, to run a request: use it in a `with` block, and `fulfil` it where the answer is good.

    A block that is left without that gives the key free.
    """

    def __init__(self, answers: IdempotentAnswers, name: _Name, entry: _Entry) -> None:
        self._answers, self._name, self._entry = answers, name, entry

    def fulfil(self, response: StoredResponse) -> None:
        """Give this response to all who repeat the request. Call it once, with what the client got."""
        self._answers._fulfilled(self._name, self._entry, response)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._answers._left(self._name, self._entry)


_Name = tuple[str | None, str]
"""Who asks, and the Idempotency-Key: equal keys of two API keys have nothing to do with each other."""


class IdempotentAnswers:
    """The requests with an Idempotency-Key of one gateway. For one event loop. `clock`: seconds that never go back."""

    def __init__(
        self, max_bytes: int = MAX_BYTES, ttl_s: float = TTL_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_bytes, self._ttl_s, self._clock = max_bytes, ttl_s, clock
        self._entries: dict[_Name, _Entry] = {}
        self._finished: OrderedDict[_Name, _Entry] = OrderedDict()
        """Those of `_entries` that have a response, oldest first."""
        self.num_bytes = 0
        self.num_repeated = 0
        """Requests that got the answer of an earlier one."""

    async def claim(self, key_id: str | None, idempotency_key: str, path: str, body: bytes) -> Claim | StoredResponse:
        """The stored response; or a Claim, with which the caller has to run the request.

        Waits while the same request runs. Raises RequestError where the key is empty or too long, and KeyReused where
        it came with another path or body before.
        """
        if not 0 < len(idempotency_key) <= MAX_KEY_CHARS:
            raise RequestError(
                f"Idempotency-Key has {len(idempotency_key)} characters; send 1 to {MAX_KEY_CHARS}.",
                "Idempotency-Key",
                "invalid_value",
            )
        name = (key_id, idempotency_key)
        request_digest = hashlib.blake2b(path.encode() + b"\0" + body, digest_size=24).digest()
        while (entry := self._current(name)) is not None:
            if entry.request_digest != request_digest:
                raise KeyReused(
                    "This Idempotency-Key was sent with another request; use a new key for each request.",
                    "Idempotency-Key",
                    "idempotency_key_reused",
                )
            if entry.response is not None:
                self.num_repeated += 1
                return entry.response
            await entry.ended.wait()
            if entry.response is not None:  # it may have left the table since, to make room
                self.num_repeated += 1
                return entry.response
        entry = self._entries[name] = _Entry(request_digest, asyncio.Event())
        return Claim(self, name, entry)

    def _current(self, name: _Name) -> _Entry | None:
        while self._finished:
            oldest, entry = next(iter(self._finished.items()))
            if self._clock() < entry.expires_s:
                break
            self._forget(oldest)
        return self._entries.get(name)

    def _fulfilled(self, name: _Name, entry: _Entry, response: StoredResponse) -> None:
        assert entry.response is None, "a claim is fulfilled once"
        entry.response, entry.expires_s = response, self._clock() + self._ttl_s
        self._finished[name] = entry
        self.num_bytes += response.num_bytes + _ENTRY_BYTES
        while self.num_bytes > self._max_bytes:
            self._forget(next(iter(self._finished)))
        entry.ended.set()

    def _left(self, name: _Name, entry: _Entry) -> None:
        if entry.response is None:
            del self._entries[name]
            entry.ended.set()

    def _forget(self, name: _Name) -> None:
        entry = self._finished.pop(name)
        del self._entries[name]
        assert entry.response is not None
        self.num_bytes -= entry.response.num_bytes + _ENTRY_BYTES
