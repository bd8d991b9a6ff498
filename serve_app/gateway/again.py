"""An answer from the response cache, given again: its pieces, and the account of the query that gets it."""

from collections.abc import Sequence
from dataclasses import replace

from serve_app.cache import CachedAnswer
from serve_app.core import Answer, CacheHit
from serve_app.gateway.choices import Piece


def pieces_of(cached: CachedAnswer) -> list[Piece]:
    """All choices, each as one last delta."""
    return [Piece(index, choice.delta()) for index, choice in enumerate(cached.choices)]


def account_of(trace_account: Answer, cached: CachedAnswer, kind: CacheHit, finished: bool) -> Answer:
    """The unpriced account; `trace_account` knows the query and its times, the cached answer who had answered it."""
    before = cached.account
    attempts: Sequence[int] = range(len(cached.choices)) if finished else ()
    return replace(
        trace_account,
        outcome="accepted" if finished else trace_account.outcome,
        attempts=tuple(cached.attempt(index, trace_account.ms) for index in attempts),
        route=before.route,
        route_probability=before.route_probability,
        adapter=before.adapter,
        adapter_version=before.adapter_version,
        model=before.model,
        reason=f"{kind} match in the response cache",
        confidence=before.confidence,
        cache=kind,
    )
