"""Exact sums over some queries, and how they are told."""

from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any

from serve_app.ledger.latency import percentiles
from serve_app.ledger.public import saved_by, usd
from serve_app.ledger.times import NS_PER_S

_PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


@dataclass(slots=True)
class Totals:
    """Sums over some queries. Shadows cost money and nobody asked for them: in the sums, not in `queries`."""

    queries: int = 0
    shadows: int = 0
    """Disjoint from `queries`."""
    lost: int = 0
    """Included in `queries`."""
    attempts: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    """Included in `prompt_tokens`."""
    completion_tokens: int = 0
    cost_nusd: int = 0
    always_large_nusd: int = 0
    saved_by_cache_nusd: int = 0
    saved_by_prefix_nusd: int = 0
    saved_by_tier_nusd: int = 0
    cache_hits: int = 0
    """Included in `queries`."""
    escalated: int = 0
    measured: int = 0
    """Queries whose always-large cost is measured."""
    busy_ns: int = 0
    ms: Counter[int] = field(default_factory=Counter)
    """Counts of latencies by bucket, of queries that were waited for."""
    first_token_ms: Counter[int] = field(default_factory=Counter)

    def add(self, row: Any) -> None:
        """Add a result row that has a column for each sum."""
        for name in SUM_FIELDS:
            setattr(self, name, getattr(self, name) + int(getattr(row, name)))

    def merge(self, other: "Totals") -> None:
        """Add what another one holds."""
        self.add(other)
        self.ms.update(other.ms)
        self.first_token_ms.update(other.first_token_ms)

    def public(self) -> dict[str, Any]:
        """For JSON. A share, rate or percentile of nothing is None. Savings may be negative.

        >>> totals = Totals(queries=4, cost_nusd=300, always_large_nusd=400, saved_by_cache_nusd=60).public()
        >>> totals["saved_share"], totals["saved_by"]["cascade"], totals["saved_by"]["cache"]
        (0.25, 4e-08, 6e-08)
        """
        saved_nusd = self.always_large_nusd - self.cost_nusd
        levers_nusd = (self.saved_by_cache_nusd, self.saved_by_prefix_nusd, self.saved_by_tier_nusd)
        return {
            "queries": self.queries,
            "shadows": self.shadows,
            "lost": self.lost,
            "attempts": self.attempts,
            "prompt_tokens": self.prompt_tokens,
            "cached_tokens": self.cached_tokens,
            "completion_tokens": self.completion_tokens,
            "cost_usd": usd(self.cost_nusd),
            "always_large_usd": usd(self.always_large_nusd),
            "saved_usd": usd(saved_nusd),
            "saved_share": _share(saved_nusd, self.always_large_nusd),
            "saved_by": saved_by(saved_nusd, *levers_nusd),
            "cache_hits": self.cache_hits,
            "cache_hit_rate": _share(self.cache_hits, self.queries),
            "escalated": self.escalated,
            "escalation_rate": _share(self.escalated, self.queries),
            "busy_s": self.busy_ns / NS_PER_S,
            "ms": _percentiles(self.ms),
            "first_token_ms": _percentiles(self.first_token_ms),
        }


SUM_FIELDS = tuple(each.name for each in fields(Totals) if each.name not in ("ms", "first_token_ms"))


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _percentiles(counts: Counter[int]) -> dict[str, float | None]:
    return dict(zip(_PERCENTILES, percentiles(counts, _PERCENTILES.values()), strict=True))
