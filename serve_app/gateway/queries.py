"""POST /v1/chat/completions and /v1/completions."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import Response

from serve_app.cache import IDEMPOTENCY_HEADER, StoredResponse
from serve_app.gateway.chat import ChatShape
from serve_app.gateway.deadline import TIMEOUT_HEADER, exceeded, timeout_s
from serve_app.gateway.error_codes import BODY_CODES, KEY_CODES, errors
from serve_app.gateway.ids import QUERY_ID_HEADER, new_query_id
from serve_app.gateway.life import LiveQuery
from serve_app.gateway.limits import read_body
from serve_app.gateway.openapi import body_of
from serve_app.gateway.parse import Ask, chat_ask, text_ask
from serve_app.gateway.repeated import ClaimedResponse, RepeatedResponse
from serve_app.gateway.requests import ChatBody, TextBody
from serve_app.gateway.respond import WARNING_HEADER, QueryResponse
from serve_app.gateway.schemas.answers import (
    ChatCompletion,
    ChatCompletionChunk,
    TextCompletion,
    TextCompletionChunk,
)
from serve_app.gateway.schemas.shown import ref
from serve_app.gateway.services import services_of
from serve_app.gateway.shapes import Shape
from serve_app.gateway.texts import TextShape
from serve_app.telemetry import valid_traceparent

Parse = Callable[[bytes, str, str | None, int], Ask]

_ERRORS = errors(
    *KEY_CODES,
    *BODY_CODES,
    "unsupported_parameter",
    "context_length_exceeded",
    "model_not_permitted",
    "tier_not_permitted",
    "model_not_found",
    "idempotency_key_reused",
    "overloaded",
    "budget_exceeded",
    "engine_error",
    "retriever_error",
    "deadline_exceeded",
)
_HEADERS = {
    IDEMPOTENCY_HEADER: "The same request again under the same key gets the bytes of the first answer, and is neither "
    "run nor billed again; kept 24 hours by the gateway that answered. 1 to 255 characters.",
    TIMEOUT_HEADER: "Seconds that the query may take, from its arrival; at most `gateway.timeout_s`, which is the "
    "default.",
    "traceparent": "W3C trace context: the query's spans belong under it.",
}
_ANSWER_HEADERS = {
    QUERY_ID_HEADER: "Name of the query in the ledger; on errors, too.",
    WARNING_HEADER: "Only where a budget is used beyond `budgets.warn_at`: which one.",
    "idempotent-replayed": "`true` where the answer was given before, under the same `Idempotency-Key`.",
}


def _asking(body_class: type[BaseModel]) -> dict[str, Any]:
    """The body and the headers of a query."""
    headers = [
        {"name": name, "in": "header", "required": False, "schema": {"type": "string"}, "description": meaning}
        for name, meaning in _HEADERS.items()
    ]
    return body_of(body_class) | {"parameters": headers}


def _answers(whole: type[BaseModel], chunk: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """The answer whole and in chunks, and what may go wrong."""
    headers = {name: {"description": told, "schema": {"type": "string"}} for name, told in _ANSWER_HEADERS.items()}
    description = "The answer; with `stream`, server-sent events, the last of which is `[DONE]`."
    stream = {"text/event-stream": {"schema": ref(chunk)}}
    return {200: {"model": whole, "description": description, "headers": headers, "content": stream}, **_ERRORS}


router = APIRouter(tags=["queries"])


async def _answer(request: Request, parse: Parse, shape: Callable[[Ask], Shape]) -> Response:
    services, key = services_of(request), request.state.key
    limits = services.settings.gateway
    query_id = request.state.query_id = new_query_id()
    body = await read_body(request, limits.max_body_bytes)
    ask = parse(body, query_id, request.state.key_id, limits.max_choices)
    query = replace(
        ask.query,
        traceparent=valid_traceparent(request.headers.get("traceparent")),
        timeout_s=timeout_s(request.headers.get(TIMEOUT_HEADER), limits.timeout_s),
    )
    live = LiveQuery(services, query, ask.num_choices, key, ask.stream)
    response = QueryResponse(live, ask, shape(ask))
    idempotency_key = request.headers.get(IDEMPOTENCY_HEADER)
    if idempotency_key is None:
        return response
    try:
        async with asyncio.timeout(query.timeout_s) as bound:  # while the same request is answered
            claim = await services.idempotent.claim(query.key_id, idempotency_key, request.url.path, body)
    except TimeoutError:
        if not bound.expired():
            raise
        raise exceeded(query) from None
    return RepeatedResponse(claim) if isinstance(claim, StoredResponse) else ClaimedResponse(response, live, claim)


@router.post(
    "/v1/chat/completions",
    openapi_extra=_asking(ChatBody),
    responses=_answers(ChatCompletion, ChatCompletionChunk),
    response_model=None,
)
async def chat_completions(request: Request) -> Response:
    """Answer a conversation.

    With the model `rag`, `headrace.citations` names the passages that the answer rests on.
    """
    return await _answer(request, chat_ask, ChatShape)


@router.post(
    "/v1/completions",
    openapi_extra=_asking(TextBody),
    responses=_answers(TextCompletion, TextCompletionChunk),
    response_model=None,
)
async def completions(request: Request) -> Response:
    """Continue a raw text.

    With the model `rag`, `headrace.citations` names the passages that the answer rests on.
    """
    return await _answer(request, text_ask, TextShape)
