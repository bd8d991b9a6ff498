"""POST /v1/chat/completions and /v1/completions."""

from collections.abc import Callable

from fastapi import APIRouter, Request

from serve_app.gateway.chat import ChatShape
from serve_app.gateway.ids import new_query_id
from serve_app.gateway.life import LiveQuery
from serve_app.gateway.limits import read_body
from serve_app.gateway.openapi import body_of
from serve_app.gateway.parse import Ask, chat_ask, text_ask
from serve_app.gateway.requests import ChatBody, TextBody
from serve_app.gateway.respond import QueryResponse
from serve_app.gateway.services import Services
from serve_app.gateway.shapes import Shape
from serve_app.gateway.texts import TextShape

Parse = Callable[[bytes, str, str | None, int], Ask]


def query_routes(services: Services) -> APIRouter:
    """The two ways to ask."""
    router = APIRouter(tags=["queries"])

    async def answer(request: Request, parse: Parse, shape: Callable[[Ask], Shape]) -> QueryResponse:
        limits = services.settings.gateway
        query_id = request.state.query_id = new_query_id()
        body = await read_body(request, limits.max_body_bytes)
        ask = parse(body, query_id, request.state.key_id, limits.max_choices)
        return QueryResponse(LiveQuery(services, ask.query, ask.num_choices), ask, shape(ask))

    @router.post("/v1/chat/completions", openapi_extra=body_of(ChatBody), response_model=None)
    async def chat_completions(request: Request) -> QueryResponse:
        """Answer a conversation."""
        return await answer(request, chat_ask, ChatShape)

    @router.post("/v1/completions", openapi_extra=body_of(TextBody), response_model=None)
    async def completions(request: Request) -> QueryResponse:
        """Continue a raw text."""
        return await answer(request, text_ask, TextShape)

    return router
