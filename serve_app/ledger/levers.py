"""What saved money in one query besides routing: cached prompt tokens, and the tier.

Each attempt has three prices. `plain` is that of the default tier with nothing cached; cached tokens lower it to
`default`; the tier `flex` lowers that to what is paid, and `priority` raises it, which saves less than nothing. So the
steps add up, for a query and for any sum of queries:

    always large - cost = routing and cascade + response cache + prefix cache + tier

Always-large is a plain price: it stands for the large model alone, with none of the levers.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction

from serve_app.core import Attempt, Tier, Usage
from serve_app.ledger.price_version import PriceVersion
from serve_app.ledger.rates import WHOLE

CACHE_NODE = "cache"
_LOOKS = ("router", "retriever")
"""Roles whose model costs nothing unless it has an entry, and the same in every tier."""
_NOTHING = Usage()


@dataclass(frozen=True, slots=True)
class Priced:
    """An attempt with its cost, and what it would have cost without the levers; nano-dollars."""

    attempt: Attempt
    default_nusd: int
    plain_nusd: int


def used(attempt: Attempt) -> bool:
    """Whether there is anything to pay for: an attempt that ended before it used anything is free."""
    return attempt.outcome == "accepted" or attempt.usage != _NOTHING


def tier_share(version: PriceVersion, tier: Tier) -> Fraction:
    """What part of the price a tier costs; above one for `priority`."""
    return {"flex": version.flex_factor, "default": WHOLE, "priority": version.priority_factor}[tier]


def priced(attempt: Attempt, version: PriceVersion, tier: Tier) -> Priced:
    """Every attempt is billed for what it used, whatever became of it. An adapter costs what its base costs.

    One from the response cache costs nothing, and neither does one that ended before it used anything.
    Raises ConfigError for a model without a price.
    """
    rates = version.rates.get(attempt.model) if attempt.role in _LOOKS else None
    if attempt.node == CACHE_NODE or not used(attempt) or (attempt.role in _LOOKS and rates is None):
        return Priced(replace(attempt, cost_nusd=0), 0, 0)
    rates = rates or version.rates_of(attempt.model)
    default_nusd = rates.cost_nusd(attempt.usage)
    paid_nusd = default_nusd
    if tier != "default" and attempt.role not in _LOOKS:
        paid_nusd = rates.cost_nusd(attempt.usage, tier_share(version, tier))
    plain_nusd = rates.uncached_nusd(attempt.usage) if attempt.usage.cached_tokens else default_nusd
    return Priced(replace(attempt, cost_nusd=paid_nusd), default_nusd, plain_nusd)


def prefix_nusd(attempts: Iterable[Priced]) -> int:
    """What cached prompt tokens would have cost beyond their price."""
    return sum(one.plain_nusd - one.default_nusd for one in attempts)


def tier_nusd(attempts: Iterable[Priced]) -> int:
    """The default tier's price minus the price paid; negative for `priority`."""
    return sum(one.default_nusd - one.attempt.cost_nusd for one in attempts)
