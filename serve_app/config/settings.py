"""All sections composed into the one frozen `Settings`."""

from typing import Self

from pydantic import Field, model_validator

from serve_app.config.budgets import BudgetsSettings
from serve_app.config.cache import CacheSettings
from serve_app.config.cascade import CascadeSettings
from serve_app.config.deployments import DeploymentsSettings
from serve_app.config.gateway import GatewaySettings
from serve_app.config.ledger import LedgerSettings
from serve_app.config.nodes import ADAPTER_NAME, AdapterSource, NodeSettings
from serve_app.config.prices import PricesSettings
from serve_app.config.routing import RouterSettings, RoutesSettings
from serve_app.config.section import Section
from serve_app.config.telemetry import TelemetrySettings
from serve_app.core import RESERVED_MODELS


class Settings(Section):
    """Everything that a graph is built from. Read from one YAML file by `load`."""

    specialists: NodeSettings = Field(description="The small base that adapters share.")
    fallback: NodeSettings = Field(description="The large model that the cascade escalates to.")
    adapters: dict[str, AdapterSource] = Field(default_factory=dict, description="Adapter name -> where it lies.")
    router: RouterSettings = Field(default_factory=RouterSettings, description="The domain classifier.")
    routes: RoutesSettings = Field(default_factory=RoutesSettings, description="Router label -> adapter.")
    cascade: CascadeSettings = Field(default_factory=CascadeSettings, description="When to escalate.")
    prices: PricesSettings = Field(description="What tokens cost.")
    ledger: LedgerSettings = Field(default_factory=LedgerSettings, description="Where accounts are kept.")
    budgets: BudgetsSettings = Field(default_factory=BudgetsSettings, description="What may be spent.")
    cache: CacheSettings = Field(default_factory=CacheSettings, description="Answers given before.")
    telemetry: TelemetrySettings = Field(default_factory=TelemetrySettings, description="Traces and logs.")
    gateway: GatewaySettings = Field(default_factory=GatewaySettings, description="The HTTP ingress.")
    deployments: DeploymentsSettings = Field(
        default_factory=DeploymentsSettings, description="Resources and scaling of each deployment."
    )

    @model_validator(mode="after")
    def _names_agree(self) -> Self:
        for name in self.adapters:
            if name in RESERVED_MODELS:
                raise ValueError(f"adapters.{name}: the name is reserved; choose another")
            if not ADAPTER_NAME.fullmatch(name):
                raise ValueError(f"adapters.{name}: a name is 1 to 64 of a-z, 0-9, dot, underscore and hyphen")
        for label, adapter in {**self.routes.adapters, "default": self.routes.default}.items():
            if adapter != "base" and adapter not in self.adapters:
                raise ValueError(f"routes: {label!r} names adapter {adapter!r}, which is not under `adapters`")
        for node in (self.specialists, self.fallback):
            if node.model not in self.prices.models:
                raise ValueError(f"prices.models has no entry for {node.model!r}; add one")
        return self
