"""All sections composed into the one frozen `Settings`."""

from typing import Self

from pydantic import Field, model_validator

from serve_app.config.budgets import BudgetsSettings
from serve_app.config.cache import CacheSettings
from serve_app.config.canary import CanarySettings
from serve_app.config.cascade import CascadeSettings
from serve_app.config.checklist import ChecklistSettings
from serve_app.config.deployments import DeploymentsSettings
from serve_app.config.ensemble import EnsembleSettings
from serve_app.config.gateway import GatewaySettings
from serve_app.config.ledger import LedgerSettings
from serve_app.config.nodes import ADAPTER_NAME, AdapterSource, NodeSettings
from serve_app.config.prices import PricesSettings
from serve_app.config.rag import RagSettings
from serve_app.config.registry import RegistrySettings
from serve_app.config.routing import RouterSettings, RoutesSettings
from serve_app.config.scaling import ScalingSettings
from serve_app.config.section import Section
from serve_app.config.telemetry import TelemetrySettings
from serve_app.core import RESERVED_MODELS


class Settings(Section):
    """Everything that a graph is built from. Read from one YAML file by `load`."""

    specialists: NodeSettings = Field(description="The small base that adapters share.")
    fallback: NodeSettings = Field(description="The large model that the cascade escalates to.")
    adapters: dict[str, AdapterSource] = Field(default_factory=dict, description="Adapter name -> where it lies.")
    registry: RegistrySettings = Field(
        default_factory=RegistrySettings, description="Versions of adapters: where their files are kept."
    )
    router: RouterSettings = Field(default_factory=RouterSettings, description="The domain classifier.")
    routes: RoutesSettings = Field(default_factory=RoutesSettings, description="Router label -> adapter.")
    cascade: CascadeSettings = Field(default_factory=CascadeSettings, description="When to escalate.")
    ensemble: EnsembleSettings = Field(
        default_factory=EnsembleSettings, description="Several answers in the place of one."
    )
    rag: RagSettings = Field(default_factory=RagSettings, description="Passages of documents before a question.")
    canary: CanarySettings = Field(default_factory=CanarySettings, description="When a canary is promoted.")
    prices: PricesSettings = Field(description="What tokens cost.")
    ledger: LedgerSettings = Field(default_factory=LedgerSettings, description="Where accounts are kept.")
    budgets: BudgetsSettings = Field(default_factory=BudgetsSettings, description="What may be spent.")
    cache: CacheSettings = Field(default_factory=CacheSettings, description="Answers given before.")
    telemetry: TelemetrySettings = Field(default_factory=TelemetrySettings, description="Traces and logs.")
    gateway: GatewaySettings = Field(default_factory=GatewaySettings, description="The HTTP ingress.")
    deployments: DeploymentsSettings = Field(
        default_factory=DeploymentsSettings, description="Resources and replica bounds of each deployment."
    )
    scaling: ScalingSettings = Field(default_factory=ScalingSettings, description="Who decides on replicas.")
    checklist: ChecklistSettings = Field(
        default_factory=ChecklistSettings, description="What `headrace check` holds the deployment to."
    )

    @model_validator(mode="after")
    def _names_agree(self) -> Self:
        for name in self.adapters:
            if name in RESERVED_MODELS:
                raise ValueError(f"adapters.{name}: the name is reserved; choose another")
            if not ADAPTER_NAME.fullmatch(name):
                raise ValueError(f"adapters.{name}: a name is 1 to 64 of a-z, 0-9, dot, underscore and hyphen")
        for label, adapter in {**self.routes.adapters, "default": self.routes.default}.items():
            if adapter != "base" and (adapter in RESERVED_MODELS or not ADAPTER_NAME.fullmatch(adapter)):
                raise ValueError(f"routes: {label!r} names {adapter!r}, which no adapter can be called; or say `base`")
        for node in (self.specialists, self.fallback):
            if node.model not in self.prices.models:
                raise ValueError(f"prices.models has no entry for {node.model!r}; add one")
        return self

    @model_validator(mode="after")
    def _members_fit_a_batch(self) -> Self:
        """A group needs a row for each of its answers, and all of its adapters loaded."""
        small = [member for member in self.ensemble.members if member.model != "large"]
        large = [member for member in self.ensemble.members if member.model == "large"]
        for name, node, members in (("specialists", self.specialists, small), ("fallback", self.fallback, large)):
            num_answers = sum(member.samples for member in members)
            num_adapters = len({member.model for member in members} - {"base", "large"})
            for num, what, key in (
                (num_answers, "answers", "max_rows"),
                (num_adapters, "adapters", "adapter_slots"),
            ):
                if node.engine == "local" and num > getattr(node, key):
                    raise ValueError(
                        f"ensemble.members: {num} {what} do not fit {name}.{key} {getattr(node, key)}; name fewer, or "
                        "raise it"
                    )
        return self

    @model_validator(mode="after")
    def _routes_fit_a_batch(self) -> Self:
        """The same, for as many adapters of the routes as may take part at once."""
        if self.ensemble.strategy != "soft_routing" or self.specialists.engine != "local":
            return self
        adapters = {*self.routes.adapters.values(), self.routes.default}
        for num, key in ((len(adapters), "max_rows"), (len(adapters - {"base"}), "adapter_slots")):
            num_at_once, room = self.ensemble.most_members(num), getattr(self.specialists, key)
            if num_at_once > room:
                raise ValueError(
                    f"ensemble.least_weight: {num_at_once} adapters of the routes may take part at once, and "
                    f"specialists.{key} is {room}; raise one of them"
                )
        return self

    @model_validator(mode="after")
    def _the_engine_knows_lock_step(self) -> Self:
        engine = self.specialists.engine
        if self.ensemble.enabled and self.ensemble.in_lock_step and engine in ("vllm", "openai"):
            raise ValueError(
                f"ensemble.strategy: `{self.ensemble.strategy}` takes all members' distributions at every token, which "
                f"specialists.engine `{engine}` does not show; choose a strategy that votes, or the engine `local`"
            )
        return self

    @model_validator(mode="after")
    def _speeds_are_known(self) -> Self:
        for name in ("specialists", "fallback") if self.scaling.policy == "headrace" else ():
            if getattr(self.deployments, name).scales and getattr(self.scaling, name).engine is None:
                raise ValueError(
                    f"scaling.{name}.engine.tokens_per_s is missing: `policy: headrace` needs the speed of a replica "
                    f"(docs/scaling.md says how to measure it); or set scaling.policy to serve"
                )
        return self
