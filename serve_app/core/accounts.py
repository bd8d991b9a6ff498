"""What became of a query, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from serve_app.core.generation import Usage
from serve_app.core.queries import Tier

NANO_USD = 1_000_000_000
"""Money is held in integer nano-dollars; one dollar is this many."""

Outcome = Literal["accepted", "counted", "escalated", "cancelled", "failed", "timed_out", "shadow", "lost"]
"""What became of an attempt: its answer was given, counted in an ensemble that gave another member's, thrown away for
the large model's, left by the client or not needed any more, broken by an error, not finished in time, or only to
watch. A query is `lost` when its gateway died: nobody knows what it used."""

AttemptRole = Literal["answer", "member", "shadow", "router", "retriever"]
"""What an attempt was for: the answer, a member of an ensemble, a look behind an answer, the domain, or passages."""

CacheHit = Literal["exact", "semantic"]
"""How the response cache recognised a query."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call of one node and what became of it. Costs of a query are the sum over its attempts."""

    node: str
    """`specialists`, `fallback`, `router`, or `cache` for an answer given before."""
    model: str
    adapter: str | None
    outcome: Outcome
    usage: Usage
    ms: float
    """Wall time from dispatch to the last delta, queueing included."""
    adapter_version: str | None = None
    choice_index: int = 0
    confidence: float | None = None
    cost_nusd: int = 0
    """Set by the price book; nano-dollars."""
    role: AttemptRole = "answer"


@dataclass(frozen=True, slots=True)
class Answer:
    """The account of one query: what was tried, which attempt answered, what it cost. Holds no text."""

    query_id: str
    created_at_s: float
    requested_model: str
    outcome: Outcome
    attempts: tuple[Attempt, ...]
    key_id: str | None = None
    route: str | None = None
    route_probability: float | None = None
    adapter: str | None = None
    """Of the attempt that answered, like `adapter_version` and `model`."""
    adapter_version: str | None = None
    model: str | None = None
    escalated: bool = False
    """The cascade left it to the large model, after a small draft or without one, and the small one had not to stay."""
    reason: str = ""
    """Why the cascade accepted or escalated, in words."""
    confidence: float | None = None
    first_token_ms: float | None = None
    ms: float = 0.0
    price_version: str | None = None
    cost_nusd: int = 0
    """Sum of the attempts' costs."""
    always_large_nusd: int = 0
    """What the large model alone would have cost for this query."""
    always_large_basis: Literal["estimated", "measured"] = "estimated"
    """`measured` when the large model answered; else its price on the tokens of the answer given."""
    tier: Tier = "default"
    gateway: str | None = None
    """Id of the gateway replica that answered."""
    cache: CacheHit | None = None
    """How the answer was found in the response cache; None: it was generated."""
    shadow_of: str | None = None
    """Of a shadow: the id of the query behind it."""
    saved_by_cache_nusd: int = 0
    """What the response cache saved; with the next two a part of always-large minus cost, whose rest is the cascade."""
    saved_by_prefix_nusd: int = 0
    """What cached prompt tokens would have cost beyond their price."""
    saved_by_tier_nusd: int = 0
    """Price of the default tier minus the price paid; negative for `priority`."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What is written down of a query before anything is dispatched for it."""

    query_id: str
    created_at_s: float
    requested_model: str
    key_id: str | None = None
    tier: Tier = "default"
    gateway: str | None = None
