"""Between accounts and rows. A row carries every field of `core.Answer` or `core.Attempt`."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row

from serve_app.core import Answer, Attempt, Usage
from serve_app.ledger.latency import latency_bucket
from serve_app.ledger.partitions import day_of
from serve_app.ledger.times import NS_PER_S


def query_row(answer: Answer) -> dict[str, Any]:
    """The row of `queries`; the cost and the sums come from the attempts, which are stored in the same transaction."""
    attempts = answer.attempts
    return {
        "day": day_of(answer.created_at_s),
        "query_id": answer.query_id,
        "created_at_s": answer.created_at_s,
        "requested_model": answer.requested_model,
        "outcome": answer.outcome,
        "key_id": answer.key_id,
        "tier": answer.tier,
        "gateway": answer.gateway,
        "cache": answer.cache,
        "shadow_of": answer.shadow_of,
        "route": answer.route,
        "route_probability": answer.route_probability,
        "adapter": answer.adapter,
        "adapter_version": answer.adapter_version,
        "model": answer.model,
        "escalated": answer.escalated,
        "reason": answer.reason,
        "confidence": answer.confidence,
        "first_token_ms": answer.first_token_ms,
        "ms": answer.ms,
        "first_token_bucket": None if answer.first_token_ms is None else latency_bucket(answer.first_token_ms),
        "ms_bucket": latency_bucket(answer.ms),
        "price_version": answer.price_version,
        "cost_nusd": sum(attempt.cost_nusd for attempt in attempts),
        "always_large_nusd": answer.always_large_nusd,
        "always_large_basis": answer.always_large_basis,
        "saved_by_cache_nusd": answer.saved_by_cache_nusd,
        "saved_by_prefix_nusd": answer.saved_by_prefix_nusd,
        "saved_by_tier_nusd": answer.saved_by_tier_nusd,
        "num_attempts": len(attempts),
        "prompt_tokens": sum(attempt.usage.prompt_tokens for attempt in attempts),
        "cached_tokens": sum(attempt.usage.cached_tokens for attempt in attempts),
        "completion_tokens": sum(attempt.usage.completion_tokens for attempt in attempts),
        "busy_ns": sum(_busy_ns(attempt) for attempt in attempts),
    }


def attempt_rows(answer: Answer) -> list[dict[str, Any]]:
    """The rows of `attempts`, in order."""
    day = day_of(answer.created_at_s)
    return [
        {
            "day": day,
            "query_id": answer.query_id,
            "attempt_index": index,
            "role": attempt.role,
            "choice_index": attempt.choice_index,
            "node": attempt.node,
            "model": attempt.model,
            "adapter": attempt.adapter,
            "adapter_version": attempt.adapter_version,
            "outcome": attempt.outcome,
            "prompt_tokens": attempt.usage.prompt_tokens,
            "cached_tokens": attempt.usage.cached_tokens,
            "completion_tokens": attempt.usage.completion_tokens,
            "busy_ns": _busy_ns(attempt),
            "ms": attempt.ms,
            "confidence": attempt.confidence,
            "cost_nusd": attempt.cost_nusd,
        }
        for index, attempt in enumerate(answer.attempts)
    ]


def answer_of(query: Row[Any], attempts: Sequence[Row[Any]]) -> Answer:
    """The account that the rows hold; equal to the recorded one, busy time rounded to nanoseconds."""
    return Answer(
        query_id=query.query_id,
        created_at_s=query.created_at_s,
        requested_model=query.requested_model,
        outcome=query.outcome,
        attempts=tuple(_attempt_of(row) for row in attempts),
        key_id=query.key_id,
        route=query.route,
        route_probability=query.route_probability,
        adapter=query.adapter,
        adapter_version=query.adapter_version,
        model=query.model,
        escalated=query.escalated,
        reason=query.reason,
        confidence=query.confidence,
        first_token_ms=query.first_token_ms,
        ms=query.ms,
        price_version=query.price_version,
        cost_nusd=query.cost_nusd,
        always_large_nusd=query.always_large_nusd,
        always_large_basis=query.always_large_basis,
        tier=query.tier,
        gateway=query.gateway,
        cache=query.cache,
        shadow_of=query.shadow_of,
        saved_by_cache_nusd=query.saved_by_cache_nusd,
        saved_by_prefix_nusd=query.saved_by_prefix_nusd,
        saved_by_tier_nusd=query.saved_by_tier_nusd,
    )


def _attempt_of(row: Row[Any]) -> Attempt:
    return Attempt(
        node=row.node,
        model=row.model,
        adapter=row.adapter,
        outcome=row.outcome,
        usage=Usage(row.prompt_tokens, row.cached_tokens, row.completion_tokens, row.busy_ns / NS_PER_S),
        ms=row.ms,
        adapter_version=row.adapter_version,
        choice_index=row.choice_index,
        confidence=row.confidence,
        cost_nusd=row.cost_nusd,
        role=row.role,
    )


def _busy_ns(attempt: Attempt) -> int:
    return round(attempt.usage.busy_s * NS_PER_S)
