"""POST /v1/chat/completions and /v1/completions."""

from collections.abc import Callable
from dataclasses import replace

from fastapi import APIRouter, Request
from starlette.responses import Response

from serve_app.cache import IDEMPOTENCY_HEADER, StoredResponse
from serve_app.gateway.chat import ChatShape
from serve_app.gateway.ids import new_query_id
from serve_app.gateway.life import LiveQuery
from serve_app.gateway.limits import read_body
from serve_app.gateway.openapi import body_of
from serve_app.gateway.parse import Ask, chat_ask, text_ask
from serve_app.gateway.repeated import ClaimedResponse, RepeatedResponse
from serve_app.gateway.requests import ChatBody, TextBody
from serve_app.gateway.respond import QueryResponse
from serve_app.gateway.services import Services
from serve_app.gateway.shapes import Shape
from serve_app.gateway.texts import TextShape
from serve_app.telemetry import valid_traceparent

Parse = Callable[[bytes, str, str | None, int], Ask]


def query_routes(services: Services) -> APIRouter:
    """The two ways to ask."""
    router = APIRouter(tags=["queries"])

    async def answer(request: Request, parse: Parse, shape: Callable[[Ask], Shape]) -> Response:
        limits, key = services.settings.gateway, request.state.key
        query_id = request.state.query_id = new_query_id()
        body = await read_body(request, limits.max_body_bytes)
        ask = parse(body, query_id, request.state.key_id, limits.max_choices)
        query = replace(ask.query, traceparent=valid_traceparent(request.headers.get("traceparent")))
        live = LiveQuery(services, query, ask.num_choices, key)
        response = QueryResponse(live, ask, shape(ask))
        idempotency_key = request.headers.get(IDEMPOTENCY_HEADER)
        if idempotency_key is None:
            return response
        claim = await services.idempotent.claim(query.key_id, idempotency_key, request.url.path, body)
        return RepeatedResponse(claim) if isinstance(claim, StoredResponse) else ClaimedResponse(response, live, claim)

    @router.post("/v1/chat/completions", openapi_extra=body_of(ChatBody), response_model=None)
    async def chat_completions(request: Request) -> Response:
        """Answer a conversation."""
        return await answer(request, chat_ask, ChatShape)

    @router.post("/v1/completions", openapi_extra=body_of(TextBody), response_model=None)
    async def completions(request: Request) -> Response:
        """Continue a raw text."""
        return await answer(request, text_ask, TextShape)

    return router
