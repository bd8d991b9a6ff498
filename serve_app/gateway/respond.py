"""Sends the answer of one query, whole or as server-sent events. Both read the same pieces."""

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from serve_app.gateway.choices import Piece
from serve_app.gateway.disconnect import send_or_leave, until_disconnect
from serve_app.gateway.errors import error_object, log_error
from serve_app.gateway.ids import QUERY_ID_HEADER
from serve_app.gateway.life import LiveQuery
from serve_app.gateway.parse import Ask
from serve_app.gateway.shapes import Choice, Shape, with_account

_DONE = b"data: [DONE]\n\n"
WARNING_HEADER = "x-headrace-budget-warning"


class QueryResponse(Response):
    """Runs a query while it answers. An error before the first byte is raised, for the app's error handlers."""

    media_type = "text/event-stream"

    def __init__(self, live: LiveQuery, ask: Ask, shape: Shape) -> None:
        self._live, self._ask, self._shape = live, ask, shape
        self._id_header = {QUERY_ID_HEADER: ask.query.query_id}
        super().__init__(headers={"cache-control": "no-cache", "x-accel-buffering": "no", **self._id_header})
        del self.headers["content-length"]  # a stream's length is not known

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; returns early, with the query closed and billed, when the client goes away."""
        work = self._stream(send) if self._ask.stream else self._whole(scope, receive, send)
        await until_disconnect(receive, work)

    async def _whole(self, scope: Scope, receive: Receive, send: Send) -> None:
        choices = [Choice() for _ in range(self._ask.num_choices)]
        async with aclosing(self._live.pieces()) as ready:
            async for pieces in ready:
                for piece in pieces:
                    choices[piece.choice_index].add(piece)
        body = self._cited(self._shape.whole(choices, self._live.account))
        await self._live.saved()
        headers = self._id_header | warning_header(self._live)
        await JSONResponse(body, headers=headers)(scope, receive, send)

    async def _stream(self, send: Send) -> None:
        async with aclosing(self._events()) as events:
            first = await anext(events)
            self.headers.update(warning_header(self._live))
            await send_or_leave(
                send, {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            )
            await _send_body(send, first)
            try:
                async for event in events:
                    await _send_body(send, event)
            except ClientDisconnect:
                raise
            except Exception as error:
                log_error(error, self._ask.query.query_id)
                await _send_body(send, _event(error_object(error)))  # and no [DONE]: the openai client raises APIError
        await _send_body(send, b"", last=True)

    async def _events(self) -> AsyncGenerator[bytes]:
        """The events; those that are ready together come as one piece of the body."""
        ended: list[Piece] = []
        async with aclosing(self._live.pieces()) as ready:
            async for pieces in ready:
                if body := b"".join(_event(chunk) for piece in pieces for chunk in self._chunks(piece, ended)):
                    yield body
        await self._live.saved()
        yield b"".join(_event(chunk) for chunk in self._last_chunks(ended[-1])) + _DONE

    def _chunks(self, piece: Piece, ended: list[Piece]) -> list[dict[str, Any]]:
        """The chunks of a piece; the end of the last choice waits for the account."""
        chunks = [self._shape.text_chunk(piece)]
        if piece.delta.finish_reason is not None:
            ended.append(piece)
            if len(ended) < self._ask.num_choices:
                chunks.append(self._shape.end_chunk(piece))
        return [chunk for chunk in chunks if chunk is not None]

    def _last_chunks(self, last: Piece) -> list[dict[str, Any]]:
        """The account rides on the last chunk; a client that did not ask for usage never sees one without choices."""
        account, end = self._live.account, self._shape.end_chunk(last)
        if self._ask.include_usage:
            return [end, self._cited(with_account(self._shape.usage_chunk(account), account))]
        return [self._cited(with_account(end, account))]

    def _cited(self, body: dict[str, Any]) -> dict[str, Any]:
        """`body`, whose `headrace` object gets the citations where documents were searched."""
        found = self._live.citations
        return body if found is None else {**body, "headrace": {**body["headrace"], "citations": found}}


def warning_header(live: LiveQuery) -> dict[str, str]:
    """Tells a client of budgets that are nearly used up."""
    warnings = live.warnings
    return {WARNING_HEADER: "; ".join(warnings)} if warnings else {}


def _event(body: Mapping[str, Any]) -> bytes:
    """One server-sent event. In ASCII: many clients, httpx's `iter_lines` too, also end a line at U+2028 or U+0085."""
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"


async def _send_body(send: Send, body: bytes, last: bool = False) -> None:
    await send_or_leave(send, {"type": "http.response.body", "body": body, "more_body": not last})
