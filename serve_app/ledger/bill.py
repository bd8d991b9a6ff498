"""The bill: what the provisioned replicas cost, what the queries used of it, and what the large model alone would cost.

For every deployment `attributed + idle = provisioned`, exactly. Provisioned is replica-seconds x price. Attributed is
the queries' busy seconds x the same price: an engine splits the time of each step over its rows by tokens processed.
Idle is the rest, and negative where more was used than sampled. A deployment whose replicas have no price is billed by
its queries' own costs, as a remote API does; one with neither is named, and costs nothing.

Hours are whole, each at the price version in force at its start, and a query belongs to the hour in which it arrived.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, cast

from sqlalchemy import Connection

from serve_app.config.prices import Deployment
from serve_app.core import NANO_USD
from serve_app.ledger.always_large import AlwaysLarge, always_large
from serve_app.ledger.bill_rows import GroupUse, HourUse, read_always_large, read_groups, read_hours, read_pruned_days
from serve_app.ledger.levers import CACHE_NODE
from serve_app.ledger.pricebook import PriceBook
from serve_app.ledger.provisioned import HOUR_NS, ReplicaTime, read_provisioned
from serve_app.ledger.public import usd
from serve_app.ledger.rates import half_up
from serve_app.ledger.shares import Share, shares_of
from serve_app.ledger.times import HOUR_S
from serve_app.store import Store
from serve_app.store.faults import store_faults

UTILISATION = Fraction(3, 5)


@dataclass(frozen=True, slots=True)
class Line:
    """One deployment; money in nano-dollars, `attributed_nusd + idle_nusd = provisioned_nusd`."""

    deployment: str
    basis: Literal["replicas", "tokens", "none"]
    """What it is billed by: its replicas' time, its queries' tokens, or nothing that has a price."""
    replica_ns: int
    busy_ns: int
    provisioned_nusd: int
    attributed_nusd: int
    by_accounts_nusd: int
    """What the accounts charged: it differs from attributed as the engine's true speed does from the price list's."""

    @property
    def idle_nusd(self) -> int:
        """Paid for, and used by nobody."""
        return self.provisioned_nusd - self.attributed_nusd

    @property
    def by_tokens(self) -> bool:
        """Whether it is billed by its queries' tokens."""
        return self.basis == "tokens"

    def public(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "deployment": self.deployment,
            "basis": self.basis,
            "replica_hours": self.replica_ns / HOUR_NS,
            "busy_hours": self.busy_ns / HOUR_NS,
            "utilisation": self.busy_ns / self.replica_ns if self.replica_ns else None,
            "provisioned_usd": usd(self.provisioned_nusd),
            "attributed_usd": usd(self.attributed_nusd),
            "idle_usd": usd(self.idle_nusd),
            "by_accounts_usd": usd(self.by_accounts_nusd),
        }


@dataclass(frozen=True, slots=True)
class Facts:
    """What a bill is made from, of full hours from `since_s` to `until_s`."""

    since_s: int
    until_s: int
    provisioned: Sequence[ReplicaTime] = ()
    uses: Sequence[HourUse] = ()
    always_large_nusd: Mapping[int, int] | None = None
    """Start of the hour -> what the accounts say; used where the large model is priced by tokens."""
    groups: Sequence[GroupUse] = ()
    """The same use by whatever the bill is shared over."""
    pruned_days: int = 0
    """Days whose accounts are deleted: their replicas' time looks idle."""


@dataclass(frozen=True, slots=True)
class Bill:
    """Of full hours from `since_s` to `until_s`."""

    since_s: int
    until_s: int
    lines: tuple[Line, ...]
    always_large: AlwaysLarge
    utilisation: Fraction
    shares: tuple[Share, ...]
    sampled_ns: int
    """For how long replicas were counted; what ran at other times is not on the bill."""
    pruned_days: int
    """Days whose accounts are deleted: their replicas' time looks idle."""

    @property
    def total_nusd(self) -> int:
        """Attributed and idle, over all deployments."""
        return sum(line.provisioned_nusd for line in self.lines)

    def public(self) -> dict[str, Any]:
        """For JSON; savings may be negative."""
        large, total = self.always_large, self.total_nusd
        return {
            "since": self.since_s,
            "until": self.until_s,
            "sampled_hours": self.sampled_ns / HOUR_NS,
            "pruned_days": self.pruned_days,
            "deployments": [line.public() for line in self.lines],
            "total_usd": usd(total),
            "attributed_usd": usd(sum(line.attributed_nusd for line in self.lines)),
            "idle_usd": usd(sum(line.idle_nusd for line in self.lines)),
            "always_large": {
                "usd": usd(large.nusd),
                "basis": large.basis,
                "replica_hours": large.replica_ns / HOUR_NS,
                "most_replicas": large.most_replicas,
                "utilisation": float(self.utilisation),
            },
            "saved_usd": usd(large.nusd - total),
            "saved_share": (large.nusd - total) / large.nusd if large.nusd else None,
            "groups": [
                {
                    "name": share.name,
                    "attributed_usd": usd(share.attributed_nusd),
                    "idle_usd": usd(share.idle_nusd),
                    "always_large_usd": usd(share.always_large_nusd),
                }
                for share in self.shares
            ],
        }


async def read_facts(store: Store, since_s: float, until_s: float, group_by: str | None = None) -> Facts:
    """Of the full hours that hold the time from `since_s` to `until_s`.

    Raises RequestError on a bad group, LedgerError when the database cannot be read.
    """
    first_s, end_s = int(since_s // HOUR_S) * HOUR_S, -int(-until_s // HOUR_S) * HOUR_S

    def read(connection: Connection) -> Facts:
        return Facts(
            first_s,
            end_s,
            read_provisioned(connection, first_s, end_s),
            read_hours(connection, first_s, end_s),
            read_always_large(connection, first_s, end_s),
            read_groups(connection, first_s, end_s, group_by) if group_by else (),
            read_pruned_days(connection, first_s, end_s),
        )

    with store_faults():
        return await store.read(read)


def make_bill(
    book: PriceBook, models: Mapping[Deployment, str], facts: Facts, utilisation: Fraction = UTILISATION
) -> Bill:
    """`models`: deployment -> the model that it runs. `utilisation`: of the large engine, over 0 and up to 1."""
    names = {time.deployment for time in facts.provisioned} | {use.node for use in facts.uses} - {CACHE_NODE}
    lines = [_line(book, models, facts, name) for name in names]
    lines.sort(key=lambda line: (-line.provisioned_nusd, line.deployment))
    running_ns: dict[int, int] = {}
    for time in facts.provisioned:
        running_ns[time.hour_s] = min(HOUR_NS, max(running_ns.get(time.hour_s, 0), time.replica_ns))
    large = always_large(book, running_ns, facts.uses, facts.always_large_nusd or {}, utilisation)
    return Bill(
        since_s=facts.since_s,
        until_s=facts.until_s,
        lines=tuple(lines),
        always_large=large,
        utilisation=utilisation,
        shares=tuple(shares_of(lines, large.nusd, facts.groups)),
        sampled_ns=sum(running_ns.values()),
        pruned_days=facts.pruned_days,
    )


def _line(book: PriceBook, models: Mapping[Deployment, str], facts: Facts, name: str) -> Line:
    """Each hour at its own price, the sums rounded once."""
    deployment = cast(Deployment, name)
    times = [(time.hour_s, time.replica_ns, 0) for time in facts.provisioned if time.deployment == name]
    times += [(use.hour_s, 0, use.busy_ns) for use in facts.uses if use.node == name]
    by_accounts_nusd = sum(use.cost_nusd for use in facts.uses if use.node == name)
    provisioned, attributed, has_price = Fraction(0), Fraction(0), False
    for hour_s, replica_ns, busy_ns in times:
        usd_per_hour = book.version_at(hour_s).replica_usd(deployment, models.get(deployment))
        if usd_per_hour is not None:
            has_price = True
            provisioned += replica_ns * usd_per_hour * NANO_USD / HOUR_NS
            attributed += busy_ns * usd_per_hour * NANO_USD / HOUR_NS
    provisioned_nusd = half_up(provisioned.numerator, provisioned.denominator)
    attributed_nusd = half_up(attributed.numerator, attributed.denominator)
    basis: Literal["replicas", "tokens", "none"] = "replicas" if has_price else "none"
    if not has_price and by_accounts_nusd:
        basis, provisioned_nusd, attributed_nusd = "tokens", by_accounts_nusd, by_accounts_nusd
    return Line(
        deployment=name,
        basis=basis,
        replica_ns=sum(replica_ns for _, replica_ns, _ in times),
        busy_ns=sum(busy_ns for _, _, busy_ns in times),
        provisioned_nusd=provisioned_nusd,
        attributed_nusd=attributed_nusd,
        by_accounts_nusd=by_accounts_nusd,
    )
