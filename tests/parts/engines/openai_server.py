"""A server that speaks OpenAI's API over a scripted engine, on loopback; told to misbehave, it does so first."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from serve_app.config.nodes import NodeSettings
from serve_app.core import Call, Delta, Message, ModelNotFound, PromptTooLong, SamplingParams, TokenStat, Usage
from serve_app.engines.fake import FakeEngine

Body = dict[str, Any]
Act = Callable[[Body], Response]


@dataclass
class OpenAIServer:
    """Answers as `engine` does, under the model names `served` and `served-ADAPTER`, after the acts are played."""

    engine: FakeEngine = field(default_factory=lambda: FakeEngine(default="one two three"))
    acts: list[Act | None] = field(default_factory=list)
    """Played in turn, one a request; None: answer."""
    always: Act | None = None
    """Played for every request once the acts are."""
    usage: bool = True
    logprobs: bool = True
    models: list[Body] = field(default_factory=lambda: [{"id": "served", "max_model_len": 128}])
    requests: list[tuple[str, Body, dict[str, str]]] = field(default_factory=list, init=False)
    """Path, body and headers of each."""
    ports: set[int] = field(default_factory=set, init=False)
    """Of the clients: one for each connection."""

    def app(self) -> Starlette:
        paths = ("/v1/chat/completions", "/v1/completions")
        routes = [Route(path, self._answer, methods=["POST"]) for path in paths]
        return Starlette(routes=[*routes, Route("/v1/models", self._models)])

    async def _models(self, request: Request) -> Response:
        return JSONResponse({"object": "list", "data": self.models})

    async def _answer(self, request: Request) -> Response:
        body = await request.json()
        self.requests.append((request.url.path, body, dict(request.headers)))
        self.ports.add(request.client.port if request.client else 0)
        act = self.acts.pop(0) if self.acts else self.always
        if act is not None:
            return act(body)
        deltas = self.engine.generate(call_of(body))
        try:
            first = await anext(deltas)
        except PromptTooLong as error:
            return refusal(400, str(error), param=error.param, code=error.code)(body)
        except ModelNotFound as error:
            return refusal(404, str(error), code=error.code)(body)
        return StreamingResponse(self._events(body, first, deltas), media_type="text/event-stream")

    async def _events(self, body: Body, first: Delta, rest: AsyncGenerator[Delta]) -> AsyncIterator[bytes]:
        try:
            delta: Delta | None = first
            while delta is not None:
                yield event(chunk(body, delta.text, delta.finish_reason, delta.tokens if self.logprobs else ()))
                last, delta = delta, await anext(rest, None)
            if self.usage and body.get("stream_options", {}).get("include_usage"):
                yield event({"choices": [], "usage": usage_of(last.usage)})
            yield b"data: [DONE]\n\n"
        finally:
            await rest.aclose()


def call_of(body: Body) -> Call:
    model, _, adapter = body["model"].partition("-")
    assert model == "served"
    sampling = SamplingParams(
        max_tokens=body.get("max_tokens"),
        stop=tuple(body.get("stop", ())),
        top_logprobs=body.get("top_logprobs") or (body.get("logprobs") if "prompt" in body else 0) or 0,
    )
    messages = tuple(Message(one["role"], one["content"]) for one in body.get("messages", ()))
    return Call("remote", sampling, messages, body.get("prompt"), adapter or None)


def event(data: Body) -> bytes:
    return f"data: {json.dumps(data)}\n\n".encode()


def chunk(body: Body, text: str, reason: str | None = None, tokens: tuple[TokenStat, ...] = ()) -> Body:
    if "prompt" in body:
        listed = {
            "tokens": [one.text for one in tokens],
            "token_logprobs": [one.logprob for one in tokens],
            "top_logprobs": [dict(one.top) for one in tokens],
        }
        choice: Body = {"index": 0, "text": text, "logprobs": listed if tokens else None, "finish_reason": reason}
    else:
        content = [
            {
                "token": one.text,
                "logprob": one.logprob,
                "bytes": list(one.text.encode()),
                "top_logprobs": [{"token": text, "logprob": value} for text, value in one.top],
            }
            for one in tokens
        ]
        delta = {"role": "assistant", "content": text}
        logprobs = {"content": content} if content else None
        choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
    return {"object": "chunk", "choices": [choice], "usage": None}


def usage_of(usage: Usage) -> Body:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }


def refusal(status: int, message: str = "no", headers: dict[str, str] | None = None, **fields: Any) -> Act:
    """An error answer."""
    return lambda body: JSONResponse({"error": {"message": message, **fields}}, status, headers)


def raw(*pieces: bytes | float | Exception, media_type: str = "text/event-stream") -> Act:
    """A body of these pieces; a number is a wait, and an exception breaks the connection off."""

    async def body_of() -> AsyncIterator[bytes]:
        for piece in pieces:
            if isinstance(piece, Exception):
                raise piece
            if isinstance(piece, bytes):
                yield piece
            else:
                await asyncio.sleep(piece)

    return lambda body: StreamingResponse(body_of(), media_type=media_type)


def words(*texts: str, end: bool = True) -> list[bytes]:
    """Events of a chat that says these."""
    events = [event(chunk({}, text)) for text in texts]
    if end:
        usage = {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": len(texts)}}
        events += [event(chunk({}, "", "stop")), event(usage), b"data: [DONE]\n\n"]
    return events


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:
    """The app on a free port of loopback, in this loop -> its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_level="critical", lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve([listener]))
    while not server.started:  # noqa: ASYNC110  (uvicorn has no event for it)
        await asyncio.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


def node_of(*urls: str, server: Body | None = None, remote: Body | None = None, **keys: Any) -> NodeSettings:
    """A node that asks these servers; short waits."""
    servers = [
        {"base_url": url, "model": "served", "adapters": {"legal": "served-legal"}, **(server or {})} for url in urls
    ]
    section = {"backoff_s": 0.01, "servers": servers, **(remote or {})}
    return NodeSettings.model_validate({"model": "elsewhere", "engine": "openai", "remote": section, **keys})
