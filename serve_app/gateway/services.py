"""What a gateway needs from outside, given to it once. Built by a deployment, or by a test from fakes."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from pydantic import Field

from serve_app.config import CascadeSettings, Settings
from serve_app.config.prices import PricesSettings
from serve_app.config.section import Section
from serve_app.core import Ledger
from serve_app.gateway.guarantee import shadow_verdict
from serve_app.gateway.limits import InFlight
from serve_app.gateway.metrics import Metrics
from serve_app.ledger import PriceBook, Recorder
from serve_app.patterns import CascadeControl, PatternTable
from serve_app.patterns.shadow import ShadowReport

Probe = Callable[[], Awaitable[Mapping[str, str]]]
"""Asks every node for a sign of life: node name -> "ok", or one sentence why it does not answer."""


class Tunables(Section):
    """What may change while queries run; a section that is left out keeps its settings."""

    cascade: CascadeSettings | None = Field(None, description="When to escalate.")
    prices: PricesSettings | None = Field(None, description="What tokens cost from now on: a new price version.")


@dataclass
class Services:
    """The collaborators of one gateway replica. All are used from one event loop."""

    settings: Settings
    table: PatternTable
    prices: PriceBook
    recorder: Recorder
    ledger: Ledger
    probe: Probe
    metrics: Metrics
    control: CascadeControl | None = None
    """None: the graph has no cascade."""
    in_flight: InFlight = field(init=False)

    def __post_init__(self) -> None:
        self.in_flight = InFlight(self.settings.gateway.max_in_flight)

    def reconfigure(self, tunables: Tunables) -> None:
        """Take new settings. Queries in flight keep the cascade rule they began with, and are billed at the new price.

        Raises ConfigError, and changes nothing, when the new prices lack a model that is served, or the policy or
        scorer of the cascade cannot be used. A policy file is read again only where there is a section `cascade`.
        """
        cascade = tunables.cascade or self.settings.cascade
        prices = tunables.prices or self.settings.prices
        book = PriceBook(prices, self.settings.fallback.model, (self.settings.specialists.model,))
        if tunables.cascade:
            self.table.reconfigure(cascade)
        self.prices = book
        self.settings = self.settings.model_copy(update={"cascade": cascade, "prices": prices})

    def shadowed(self, report: ShadowReport) -> None:
        """Bill a query that was run once more in the background."""
        account = self.prices.price(report.account)
        self.metrics.shadowed(report.kind, account, shadow_verdict(report, self.settings.cascade.watch.agree_at))
        self.recorder.put(account)

    async def stop_shadows(self) -> None:
        """End background work; what it cost is in the recorder then."""
        if self.control:
            await self.control.close()
