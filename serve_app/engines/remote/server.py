"""One server: its connections, its rate limit, its breaker, and one streamed answer at a time from it."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any, Literal, TypeVar

import httpx

from serve_app.config.remote import RemoteServer, RemoteSettings
from serve_app.core import Call, Delta, RequestError
from serve_app.endpoints import Refusal, api_root, key_of, rate_limit_wait_s, read_refusal, retry_after_s
from serve_app.endpoints.refusal import refusal_of
from serve_app.engines.remote.answer import AnswerReader, ErrorEvent, NoEvent
from serve_app.engines.remote.asking import Ask, Dialect, lengths_of, most_tokens, too_long
from serve_app.engines.remote.breaker import Breaker, Permit
from serve_app.engines.remote.events import EventTooLong, event_data
from serve_app.engines.remote.faults import ServerFault, fault_of

_LOG = logging.getLogger(__name__)
_T = TypeVar("_T")
_LONGEST_PAUSE_S = 600.0
"""Whatever a server asks for, it is tried again after this."""
_PAUSE_S = 1.0
"""For a server at its rate limit that does not say until when."""
_TOTALS_WAIT_S = 5.0
"""For the totals that follow the finish reason; after it the estimates count."""
_END_WAIT_S = 0.05
"""For the body's end once all is said: a connection that was read to its end serves the next call."""
_MOST_REPHRASED = 5
"""Times that a request is put in another way before its refusal counts."""
_LONGEST_ERROR = 65_536


Outcome = Literal["answered", "failed", "broken_off", "limited", "refused", "rejected", "abandoned"]
"""What became of asking a server: what `faults.Kind` says, where no token came; `broken_off` where one had; `rejected`,
a mistake of the caller's; `abandoned`, the caller left or its time was over."""


class _Unanswered(Exception):
    """A request was refused as it was put."""

    def __init__(self, refusal: Refusal, sent: dict[str, Any]) -> None:
        super().__init__()
        self.refusal, self.sent = refusal, sent


class Server:
    """Safe for concurrent calls from one event loop."""

    def __init__(self, server: RemoteServer, remote: RemoteSettings, context_tokens: int) -> None:
        """`context_tokens`: named to callers whose prompt is too long, where the server names none.

        Raises ConfigError where the key is not in the environment.
        """
        self.settings, self._remote, self._context_tokens = server, remote, context_tokens
        self.root = api_root(server.base_url)
        self.name = f"{server.model} at {httpx.URL(self.root).netloc.decode()}"
        self.breaker = Breaker(
            remote.breaker, on_close=lambda: _LOG.warning("%s answers again, and is asked as before", self.name)
        )
        self.last_fault = ""
        self.num_calls: Counter[Outcome] = Counter()
        """Times that it was asked, by what came of it."""
        self.num_retries = 0
        """Of these, how many were not the first of their call."""
        self._dialect = Dialect(server)
        self._paused_until_s = 0.0
        """On the monotonic clock: its rate limit is used up until then."""
        self._key = key_of(server.api_key_env) if server.api_key_env else ""
        headers = {"accept": "text/event-stream", **server.headers}
        if self._key:
            bearer = server.api_key_header.lower() == "authorization"
            headers[server.api_key_header] = f"Bearer {self._key}" if bearer else self._key
        self.client = httpx.AsyncClient(
            headers=headers,
            timeout=httpx.Timeout(None, connect=remote.connect_timeout_s),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
        )

    @property
    def pause_s(self) -> float:
        """Seconds until its rate limit is renewed."""
        return max(0.0, self._paused_until_s - time.monotonic())

    def serves(self, call: Call) -> bool:
        """Whether this call may go here: for no adapter, or one that the server has, in the version that is wanted."""
        if call.adapter is None:
            return True
        version = self.settings.adapters.get(call.adapter)
        return version is not None and call.adapter_version in (None, version)

    async def stream(self, ask: Ask, permit: Permit) -> AsyncGenerator[Delta]:
        """The server's answer. Closing it closes the connection at once.

        Raises ServerFault, before or between deltas, or RequestError for what the caller did wrong.
        """
        outcome: Outcome = "abandoned"
        begun = False
        try:
            async with aclosing(self._rephrasing(ask, permit)) as deltas:
                async for delta in deltas:
                    begun = True
                    yield delta
            permit.succeeded()
            outcome = "answered"
        except RequestError:
            permit.succeeded()
            outcome = "rejected"
            raise
        except ServerFault as fault:
            self._note(fault, permit)
            outcome = "broken_off" if begun else fault.kind
            raise
        finally:
            permit.release()
            self.num_calls[outcome] += 1

    def _note(self, fault: ServerFault, permit: Permit) -> None:
        self.last_fault = str(fault)
        before = self.breaker.state
        if fault.kind == "limited":
            permit.succeeded()
            if not self.pause_s:
                self._pause(_PAUSE_S)
        else:
            permit.failed(for_good=fault.kind == "refused")
        if self.breaker.state == "open" and before != "open":
            _LOG.warning("%s %s; it is left alone for %.0f s", self.name, fault, self.breaker.rest_s)

    async def _rephrasing(self, ask: Ask, permit: Permit) -> AsyncGenerator[Delta]:
        """Ask, and ask once more in other words where the server does not take these."""
        max_tokens = ask.max_tokens
        for _ in range(_MOST_REPHRASED):
            try:
                async with aclosing(self._asked(ask, max_tokens, permit)) as deltas:
                    async for delta in deltas:
                        yield delta
                return
            except _Unanswered as unanswered:
                refusal, sent = unanswered.refusal, unanswered.sent
            lengths, most = lengths_of(refusal), most_tokens(refusal)
            if most is not None and most < max_tokens:
                max_tokens = most
            elif lengths is not None:
                room = (lengths.context or 0) - (lengths.prompt or 0)
                if lengths.prompt is None or not 0 < room < max_tokens:
                    raise too_long(ask, lengths, self._context_tokens)
                max_tokens = room  # the prompt fits, the answer's bound did not: a local engine shortens it too
            elif not self._dialect.learn(refusal, sent, ask.call.sampling.top_logprobs):
                break
        raise RequestError(f"{self.name} refused the request with {refusal}", refusal.param, refusal.code)

    async def _asked(self, ask: Ask, max_tokens: int, permit: Permit) -> AsyncGenerator[Delta]:
        """One request. Raises _Unanswered where it was refused and no fault of the server's."""
        body = self._dialect.body(ask, max_tokens)
        loop = asyncio.get_running_loop()
        first_s = loop.time() + self._remote.first_token_timeout_s
        adapter = ask.call.adapter
        reader = AnswerReader(ask, None if adapter is None else self.settings.adapters[adapter])
        async with (
            self._response(ask, body, first_s) as response,
            aclosing(event_data(response.aiter_bytes())) as events,
        ):
            done = False
            while True:
                until_s = loop.time() + self._patience_s(reader, done) if done or reader.begun else first_s
                data = await self._next(events, until_s, done or reader.finish_reason is not None)
                if data is None:
                    break
                if done or data.strip() == b"[DONE]":
                    done = True
                    continue
                delta = self._read(reader, data)
                if reader.begun:
                    permit.began()
                if delta is not None:
                    yield delta
        if reader.finish_reason is None:
            raise ServerFault("ended its answer without saying why")
        yield reader.end()

    def _patience_s(self, reader: AnswerReader, done: bool) -> float:
        """How long to wait for the next event, once there was a first token."""
        if done or reader.complete:
            return _END_WAIT_S
        return self._remote.silence_timeout_s if reader.finish_reason is None else _TOTALS_WAIT_S

    @asynccontextmanager
    async def _response(self, ask: Ask, body: dict[str, Any], until_s: float) -> AsyncGenerator[httpx.Response]:
        """The begun answer; closed at the end, and with it a connection that was not read to its end."""
        headers = {"content-type": "application/json"}
        if ask.call.traceparent:
            headers["traceparent"] = ask.call.traceparent
        content = json.dumps(body, separators=(",", ":")).encode()
        request = self.client.build_request("POST", self.root + ask.path, content=content, headers=headers)
        response = await self._in_time(lambda: self.client.send(request, stream=True), until_s)
        try:
            self._heed(response)
            if response.status_code != 200:
                refusal = await self._in_time(lambda: _refusal(response), until_s)
                refusal = replace(refusal, message=self._without_key(refusal.message))
                fault = fault_of(refusal, self.settings.api_key_env)
                raise fault or _Unanswered(refusal, body)
            if "text/event-stream" not in response.headers.get("content-type", ""):
                raise ServerFault("does not stream its answer: is this an OpenAI-compatible server?")
            yield response
        finally:
            await response.aclose()

    async def _next(self, events: AsyncGenerator[bytes], until_s: float, may_end: bool) -> bytes | None:
        """The next event's data; None at the end. `may_end`: however it comes about."""
        try:
            return await self._in_time(lambda: anext(events, None), until_s)
        except ServerFault:
            if may_end:
                return None
            raise

    def _read(self, reader: AnswerReader, data: bytes) -> Delta | None:
        try:
            return reader.read(data)
        except NoEvent as error:
            raise ServerFault(f"sent something that is no chunk of an answer ({error})") from None
        except ErrorEvent as error:
            refusal = refusal_of(500, error.told)
            said = self._without_key(refusal.message) or "no message"
            raise ServerFault(f"failed while answering ({said})") from None

    async def _in_time(self, waiting: Callable[[], Awaitable[_T]], until_s: float) -> _T:
        """The result of `waiting`, or the ServerFault that what went wrong with the connection amounts to."""
        try:
            async with asyncio.timeout_at(until_s):
                return await waiting()
        except TimeoutError:
            raise ServerFault("was silent for too long") from None
        except EventTooLong:
            raise ServerFault("sent an event without end") from None
        except httpx.ConnectTimeout:
            raise ServerFault(f"cannot be reached within {self._remote.connect_timeout_s:g} s") from None
        except httpx.ConnectError:
            raise ServerFault("cannot be reached") from None
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise ServerFault(f"broke the connection off ({type(error).__name__})") from None

    def _heed(self, response: httpx.Response) -> None:
        """Leave the server alone for as long as its headers ask for."""
        wait_s = retry_after_s(response.headers) if response.status_code in (429, 503) else None
        if wait_s is None:
            wait_s = rate_limit_wait_s(response.headers)
        if wait_s > 0:
            self._pause(wait_s)

    def _pause(self, wait_s: float) -> None:
        until_s = time.monotonic() + min(wait_s, _LONGEST_PAUSE_S)
        self._paused_until_s = max(self._paused_until_s, until_s)

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text


async def _refusal(response: httpx.Response) -> Refusal:
    """Reads no more of it than an error can need."""
    body = b""
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > _LONGEST_ERROR:
            break
    return read_refusal(response.status_code, body)
