"""An account as the outside sees it: the `headrace` object of an HTTP answer. The only place that makes it."""

from typing import Any

from serve_app.core import NANO_USD, Answer, Attempt


def usd(nusd: int) -> float:
    """Nano-dollars as dollars for display; add up integers first, convert once.

    >>> usd(15_001)
    1.5001e-05
    """
    return nusd / NANO_USD


def saved_by(saved_nusd: int, cache_nusd: int, prefix_nusd: int, tier_nusd: int) -> dict[str, float]:
    """Each lever's part of what was saved, in US dollars; `cascade` is the rest, so the parts add up to the whole.

    >>> saved_by(1_000, cache_nusd=500, prefix_nusd=0, tier_nusd=100)
    {'cascade': 4e-07, 'cache': 5e-07, 'prefix': 0.0, 'tier': 1e-07}
    """
    cascade_nusd = saved_nusd - cache_nusd - prefix_nusd - tier_nusd
    return {
        "cascade": usd(cascade_nusd),
        "cache": usd(cache_nusd),
        "prefix": usd(prefix_nusd),
        "tier": usd(tier_nusd),
    }


def public_account(answer: Answer) -> dict[str, Any]:
    """The `headrace` object of a priced account: plain JSON values, money in US dollars, times in milliseconds.

    >>> account = public_account(Answer("q1", 0.0, "auto", "accepted", (), cost_nusd=2_500, always_large_nusd=10_000))
    >>> account["cost_usd"], account["always_large_usd"], account["saved_usd"]
    (2.5e-06, 1e-05, 7.5e-06)
    """
    return {
        "query_id": answer.query_id,
        "outcome": answer.outcome,
        "route": answer.route,
        "route_probability": answer.route_probability,
        "adapter": answer.adapter,
        "adapter_version": answer.adapter_version,
        "model": answer.model,
        "tier": answer.tier,
        "cache": answer.cache,
        "escalated": answer.escalated,
        "reason": answer.reason,
        "confidence": answer.confidence,
        "attempts": [_attempt(attempt) for attempt in answer.attempts],
        "cost_usd": usd(answer.cost_nusd),
        "always_large_usd": usd(answer.always_large_nusd),
        "always_large_basis": answer.always_large_basis,
        "saved_usd": usd(answer.always_large_nusd - answer.cost_nusd),
        "saved_by": saved_by(
            answer.always_large_nusd - answer.cost_nusd,
            answer.saved_by_cache_nusd,
            answer.saved_by_prefix_nusd,
            answer.saved_by_tier_nusd,
        ),
        "price_version": answer.price_version,
        "first_token_ms": answer.first_token_ms,
        "ms": answer.ms,
    }


def stored_account(answer: Answer) -> dict[str, Any]:
    """`public_account` with what the client of the query knows anyway: when, for what model, under which key.

    And, for whoever administers: which gateway answered, and of a shadow the query behind it.
    """
    return {
        **public_account(answer),
        "created_at_s": answer.created_at_s,
        "requested_model": answer.requested_model,
        "key_id": answer.key_id,
        "gateway": answer.gateway,
        "shadow_of": answer.shadow_of,
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    usage = attempt.usage
    return {
        "node": attempt.node,
        "role": attempt.role,
        "model": attempt.model,
        "adapter": attempt.adapter,
        "adapter_version": attempt.adapter_version,
        "choice_index": attempt.choice_index,
        "outcome": attempt.outcome,
        "confidence": attempt.confidence,
        "usage": {
            "prompt_tokens": usage.prompt_tokens,
            "cached_tokens": usage.cached_tokens,
            "completion_tokens": usage.completion_tokens,
            "busy_s": usage.busy_s,
        },
        "cost_usd": usd(attempt.cost_nusd),
        "ms": attempt.ms,
    }
