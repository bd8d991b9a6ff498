"""From the bytes of a request to a query; the first mistake is one sentence that names the field."""

import time
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, from_json

from serve_app.core import Query, RequestError
from serve_app.gateway.parameters import CHAT_UNSUPPORTED, MESSAGE_UNSUPPORTED, TEXT_UNSUPPORTED, supported
from serve_app.gateway.requests import MAX_MESSAGES, ChatBody, SamplingBody, TextBody

BodyT = TypeVar("BodyT", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Ask:
    """A query and how its answer is to be sent."""

    query: Query
    num_choices: int
    stream: bool
    include_usage: bool
    logprobs: bool
    tells_tier: bool = False
    """The request named a service tier, so its answer does too."""


def chat_ask(body: bytes, query_id: str, key_id: str | None, max_choices: int) -> Ask:
    """Read the body of POST /v1/chat/completions. Raises RequestError."""
    raw = supported(json_object(body), CHAT_UNSUPPORTED)
    if isinstance(messages := raw.get("messages"), list):
        raw["messages"] = _supported_turns(messages)
    parsed = validated(ChatBody, raw)
    query = Query(
        query_id=query_id,
        model=parsed.model,
        sampling=parsed.sampling(parsed.max_completion_tokens or parsed.max_tokens, parsed.top_logprobs or 0),
        messages=tuple(message.message() for message in parsed.messages),
        key_id=key_id,
        created_at_s=time.time(),
        tier=parsed.tier,
    )
    return _ask(query, parsed, bool(parsed.logprobs), max_choices)


def text_ask(body: bytes, query_id: str, key_id: str | None, max_choices: int) -> Ask:
    """Read the body of POST /v1/completions. Raises RequestError."""
    parsed = validated(TextBody, supported(json_object(body), TEXT_UNSUPPORTED))
    query = Query(
        query_id=query_id,
        model=parsed.model,
        sampling=parsed.sampling(parsed.max_tokens, parsed.logprobs or 0),
        prompt=parsed.prompt,
        key_id=key_id,
        created_at_s=time.time(),
        tier=parsed.tier,
    )
    return _ask(query, parsed, parsed.logprobs is not None, max_choices)


def _supported_turns(messages: list[Any]) -> list[Any]:
    if len(messages) > MAX_MESSAGES:
        raise RequestError(
            f"messages has {len(messages)} turns; send at most {MAX_MESSAGES}.", "messages", "invalid_value"
        )
    return [
        supported(message, MESSAGE_UNSUPPORTED, f"messages.{index}.") if isinstance(message, dict) else message
        for index, message in enumerate(messages)
    ]


def _ask(query: Query, parsed: SamplingBody, logprobs: bool, max_choices: int) -> Ask:
    num_choices = parsed.n or 1
    if num_choices > max_choices:
        raise RequestError(f"n is {num_choices}, and this server gives at most {max_choices}.", "n", "invalid_value")
    include_usage = bool(parsed.stream_options and parsed.stream_options.include_usage)
    tells_tier = parsed.service_tier is not None
    return Ask(query, num_choices, bool(parsed.stream), include_usage, logprobs, tells_tier)


def json_object(body: bytes) -> dict[str, Any]:
    """The object that a body holds. Raises RequestError."""
    try:
        raw = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise RequestError(f"The request body is not valid JSON: {error}.", None, "invalid_json") from None
    if not isinstance(raw, dict):
        raise RequestError("The request body must be a JSON object.", None, "invalid_json")
    return raw


def validated(body_class: type[BodyT], raw: dict[str, Any]) -> BodyT:
    """The body, checked. Raises RequestError naming the first field that is wrong."""
    try:
        return body_class.model_validate(raw)
    except ValidationError as error:
        # The value itself is not repeated: it may be long, or private.
        raise _mistake(error.errors(include_url=False, include_input=False)[0]) from None


def _mistake(problem: ErrorDetails) -> RequestError:
    param = ".".join(str(step) for step in problem["loc"]) or problem["type"]
    if problem["type"] == "missing":
        return RequestError(f"{param} is missing.", param, "missing_required_parameter")
    if problem["type"] == "extra_forbidden":
        return RequestError(f"{param} is not a known parameter; remove it.", param, "unknown_parameter")
    code = "invalid_type" if problem["type"].endswith("_type") else "invalid_value"
    return RequestError(f"Invalid {param}: {problem['msg']}.", param, code)
