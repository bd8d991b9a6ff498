"""Always-large on the invoice: the replicas that the large engine would need for the same queries.

Hour by hour, so many that they are busy for at most a stated share of the time that the service ran, and at least one
while it did. That share stands in for the response times, which are not simulated. Where the large model has no speed
or its replicas no price, it is what the accounts say, by tokens. Answers of the response cache have no tokens: they
count only there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from serve_app.config.prices import DevicePrices, ReplicaPrices
from serve_app.core import NANO_USD
from serve_app.ledger.bill_rows import HourUse
from serve_app.ledger.price_version import PriceVersion
from serve_app.ledger.pricebook import PriceBook
from serve_app.ledger.provisioned import HOUR_NS
from serve_app.ledger.rates import half_up
from serve_app.ledger.times import NS_PER_S


@dataclass(frozen=True, slots=True)
class AlwaysLarge:
    """The large model alone."""

    nusd: int
    basis: Literal["replicas", "tokens"]
    replica_ns: int = 0
    most_replicas: int = 0
    """In the busiest hour."""


def replicas_needed(busy_s: Fraction, running_s: Fraction, utilisation: Fraction) -> int:
    """How many replicas do `busy_s` of work while they run `running_s`, busy for at most `utilisation` of it.

    An hour with 5,000 busy seconds at 60 % needs three: two would be busy for 69 %.

    >>> replicas_needed(Fraction(5000), Fraction(3600), Fraction(3, 5))
    3
    >>> replicas_needed(Fraction(0), Fraction(60), Fraction(1))
    1
    """
    return max(1, -(-busy_s // (running_s * utilisation)))


def always_large(
    book: PriceBook,
    running_ns: Mapping[int, int],
    uses: Sequence[HourUse],
    by_accounts_nusd: Mapping[int, int],
    utilisation: Fraction,
) -> AlwaysLarge:
    """`running_ns`: start of the hour -> how long the service ran in it; `by_accounts_nusd`: -> what the accounts say.

    Hours in which nothing was seen to run need no replica.
    """
    by_hour: dict[int, list[HourUse]] = {}
    for use in uses:
        by_hour.setdefault(use.hour_s, []).append(use)
    exact, replica_ns, most, by_replicas = Fraction(0), 0, 0, False
    for hour_s in sorted(running_ns.keys() | by_accounts_nusd.keys()):
        speed = _speed(book.version_at(hour_s), book.large_model)
        ran_ns = running_ns.get(hour_s, 0)
        if speed is None:
            exact += by_accounts_nusd.get(hour_s, 0)
        elif ran_ns:
            by_replicas = True
            busy_s = sum((speed.busy_s(use) for use in by_hour.get(hour_s, ())), Fraction(0))
            num_replicas = replicas_needed(busy_s, Fraction(ran_ns, NS_PER_S), utilisation)
            most = max(most, num_replicas)
            replica_ns += num_replicas * ran_ns
            exact += num_replicas * ran_ns * speed.usd_per_hour * NANO_USD / HOUR_NS
    nusd = half_up(exact.numerator, exact.denominator)
    return AlwaysLarge(nusd, "replicas" if by_replicas else "tokens", replica_ns, most)


@dataclass(frozen=True, slots=True)
class _Speed:
    """Of one busy replica of the large model."""

    prefill_tokens_per_s: Fraction
    decode_tokens_per_s: Fraction
    usd_per_hour: Fraction

    def busy_s(self, use: HourUse) -> Fraction:
        """How long it would take for the answers given."""
        prefill_s = use.given_prompt_tokens / self.prefill_tokens_per_s
        return prefill_s + use.given_completion_tokens / self.decode_tokens_per_s


def _speed(version: PriceVersion, model: str) -> _Speed | None:
    entry, usd = version.entries.get(model), version.replica_usd("fallback", model)
    if usd is None or not isinstance(entry, ReplicaPrices | DevicePrices):
        return None
    return _Speed(Fraction(entry.prefill_tokens_per_s), Fraction(entry.decode_tokens_per_s), usd)
