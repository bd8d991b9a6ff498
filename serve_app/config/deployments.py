"""How much of a machine each Serve deployment takes, and between which bounds it scales."""

from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, model_validator

from serve_app.config.section import Section

_VALUE = r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?"
_LabelRule = Annotated[str, StringConstraints(pattern=rf"^!?({_VALUE}|in\({_VALUE}(,{_VALUE})*\))$")]
"""No blank after a comma: Ray 2.60 takes it for a part of the name, and the rule then says nothing."""


class DeploymentSettings(Section):
    """Resources and autoscaling bounds of one deployment."""

    num_cpus: float = Field(
        1.0,
        ge=0,
        description="CPU cores of a replica; its torch threads are max(1, floor of this). Default of gateway, router "
        "and retriever 0.2, of fallback 0.5, of ledger 0.1.",
    )
    num_gpus: float = Field(0.0, ge=0, description="Fraction of a GPU (or GPUs) of a replica.")
    min_replicas: int = Field(1, ge=0, description="Fewest replicas.")
    max_replicas: int = Field(1, ge=1, description="Most replicas.")
    target_ongoing_requests: float = Field(
        8.0, gt=0, description="Requests in flight per replica that scaling aims at."
    )
    max_ongoing_requests: int = Field(512, ge=1, description="Requests a replica takes before Serve refuses more.")
    graceful_shutdown_s: float = Field(10.0, ge=0, description="Time for running queries to end when a replica stops.")
    surge_percent: int = Field(
        0,
        ge=0,
        le=100,
        description="Replicas of a new version that may run beside the old ones during a rolling update, in percent of "
        "their number. 0: an old one stops before its successor starts. Above 0 the update waits until they fit.",
    )
    max_per_node: int | None = Field(
        None,
        ge=1,
        description="Most replicas on one node, so that a node that dies does not take all. Unset: no bound.",
    )
    node_labels: dict[str, _LabelRule] = Field(
        default_factory=dict,
        description="Ray labels of the nodes that may hold a replica: label -> `VALUE`, `in(A,B)`, or either after "
        "`!`, which a node without the label fulfils too.",
    )

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.min_replicas > self.max_replicas:
            raise ValueError(f"min_replicas {self.min_replicas} is above max_replicas {self.max_replicas}")
        return self

    @property
    def scales(self) -> bool:
        """Whether the number of replicas may change."""
        return self.max_replicas > self.min_replicas

    @property
    def threads(self) -> int:
        """Compute threads of a replica."""
        return max(1, int(self.num_cpus))


_NUM_CPUS = {"gateway": 0.2, "router": 0.2, "retriever": 0.2, "specialists": 1.0, "fallback": 0.5, "ledger": 0.1}
"""Cores of a replica where the settings name none: together they fit a machine of two."""


def _of(name: str) -> DeploymentSettings:
    return DeploymentSettings(num_cpus=_NUM_CPUS[name])


class DeploymentsSettings(Section):
    """One entry per deployment of the graph."""

    gateway: DeploymentSettings = Field(_of("gateway"), description="HTTP ingress and patterns.")
    router: DeploymentSettings = Field(_of("router"), description="Domain classifier.")
    retriever: DeploymentSettings = Field(_of("retriever"), description="Search in documents.")
    specialists: DeploymentSettings = Field(_of("specialists"), description="Small base with its adapters.")
    fallback: DeploymentSettings = Field(_of("fallback"), description="The large model.")
    ledger: DeploymentSettings = Field(_of("ledger"), description="The one writer of the accounts.")

    @model_validator(mode="before")
    @classmethod
    def _own_cores(cls, given: Any) -> Any:
        """A section that sets something else keeps its deployment's own number of cores."""
        if not isinstance(given, dict):
            return given
        return {
            name: {"num_cpus": _NUM_CPUS[name], **section}
            if name in _NUM_CPUS and isinstance(section, dict)
            else section
            for name, section in given.items()
        }

    @model_validator(mode="after")
    def _one_writer(self) -> Self:
        if self.ledger.max_replicas != 1 or self.ledger.min_replicas != 1:
            raise ValueError("ledger must have exactly one replica: it is the only writer of the database")
        if self.ledger.surge_percent:
            raise ValueError("ledger.surge_percent must be 0: two ledgers must not write the database at once")
        return self
