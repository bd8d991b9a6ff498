"""What spans say, in the words of OpenTelemetry's GenAI conventions (`gen_ai.*`) and, beyond those, in `headrace.*`.

Token counts are on the spans of engine calls only, so that a sum over a trace counts each token once. Text of prompts
and answers, stop strings included, is on none.
"""

from serve_app.core import NANO_USD, Answer, Attempt, Call, Outcome, Query, Retrieval, RouteScore, SamplingParams
from serve_app.telemetry.tracing import Attributes, AttributeValue

_PROVIDER = "headrace"
_ERRORS: tuple[Outcome, ...] = ("failed", "timed_out", "lost")
"""Outcomes that are errors of the service: a cancelled or escalated call is not."""


def error_of(outcome: Outcome) -> str | None:
    """`error.type` of an outcome; None: there was no error.

    >>> error_of("timed_out"), error_of("escalated")
    ('timed_out', None)
    """
    return outcome if outcome in _ERRORS else None


def operation(messages: object) -> str:
    """`gen_ai.operation.name`: with turns it is a chat, with raw text a completion."""
    return "chat" if messages else "text_completion"


def query_attributes(query: Query) -> Attributes:
    """Known when a query begins."""
    return _present(
        {
            "gen_ai.operation.name": operation(query.messages),
            "gen_ai.provider.name": _PROVIDER,
            "gen_ai.request.model": query.model,
            "headrace.query_id": query.query_id,
            "headrace.key": query.key_id,
            "headrace.tier": query.tier,
            **_sampling(query.sampling),
        }
    )


def account_attributes(account: Answer) -> Attributes:
    """Known when a query is over."""
    first_token_ms = account.first_token_ms
    return _present(
        {
            "gen_ai.response.id": account.query_id,
            "gen_ai.response.model": account.model,
            "gen_ai.response.time_to_first_chunk": None if first_token_ms is None else first_token_ms / 1000,
            "headrace.outcome": account.outcome,
            "headrace.route": account.route,
            "headrace.route.probability": account.route_probability,
            "headrace.adapter": account.adapter,
            "headrace.adapter_version": account.adapter_version,
            "headrace.escalated": account.escalated,
            "headrace.reason": account.reason or None,
            "headrace.confidence": account.confidence,
            "headrace.cache": account.cache,
            "headrace.price_version": account.price_version,
            "headrace.cost_usd": account.cost_nusd / NANO_USD,
            "headrace.always_large_usd": account.always_large_nusd / NANO_USD,
        }
    )


def call_attributes(node: str, model: str, call: Call) -> Attributes:
    """Known when an engine is called."""
    return _present(
        {
            "gen_ai.operation.name": operation(call.messages),
            "gen_ai.provider.name": _PROVIDER,
            "gen_ai.request.model": model,
            "headrace.node": node,
            "headrace.adapter": call.adapter,
            "headrace.call_id": call.call_id,
            **_sampling(call.sampling),
        }
    )


def attempt_attributes(attempt: Attempt) -> Attributes:
    """Known when an engine call is over."""
    usage = attempt.usage
    return _present(
        {
            "gen_ai.response.model": attempt.model,
            "gen_ai.usage.input_tokens": usage.prompt_tokens,
            "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens,
            "gen_ai.usage.output_tokens": usage.completion_tokens,
            "headrace.outcome": attempt.outcome,
            "headrace.role": attempt.role,
            "headrace.adapter_version": attempt.adapter_version,
            "headrace.choice_index": attempt.choice_index,
            "headrace.confidence": attempt.confidence,
            "headrace.busy_s": usage.busy_s,
        }
    )


def route_attributes(score: RouteScore) -> Attributes:
    """Of the router's step."""
    return _present(
        {
            "headrace.route": score.label,
            "headrace.route.probability": score.probability,
            "headrace.route.gain": score.gain,
            "headrace.busy_s": score.busy_s,
        }
    )


def retrieval_attributes(found: Retrieval) -> Attributes:
    """Of the retriever's step."""
    return {
        "headrace.passages": len(found.passages),
        "headrace.fit": found.fit,
        "headrace.collection_version": found.version,
        "headrace.busy_s": found.busy_s,
    }


def _sampling(sampling: SamplingParams) -> dict[str, AttributeValue | None]:
    return {
        "gen_ai.request.max_tokens": sampling.max_tokens,
        "gen_ai.request.temperature": sampling.temperature,
        "gen_ai.request.top_p": sampling.top_p,
        "gen_ai.request.seed": sampling.seed,
    }


def _present(values: dict[str, AttributeValue | None]) -> Attributes:
    return {name: value for name, value in values.items() if value is not None}
