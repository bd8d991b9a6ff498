"""How many replicas each deployment shall have: Serve's own policy or Headrace's, and what that one aims at.

How it works, and where the defaults come from: docs/scaling.md.
"""

from typing import Literal

from pydantic import Field

from serve_app.config.section import Section

ColdPolicy = Literal["accept_small", "wait", "wait_if_soon"]


class EngineAims(Section):
    """What one replica of an engine can do, and how much of that is asked of it."""

    tokens_per_s: float = Field(
        gt=0,
        description="Decode tokens a second of one replica with a full batch. Measure it: a wrong figure scales the "
        "whole.",
    )
    utilisation: float = Field(
        0.75, gt=0, description="Share of `tokens_per_s` that arriving work may take; the rest is for bursts."
    )
    residence_s: float = Field(8.0, gt=0, description="Seconds within which a replica shall work off what it holds.")
    max_delay_s: float = Field(
        1.5,
        gt=0,
        description="First-token delay that counts as none: a little above an idle replica's for a long prompt.",
    )
    drain_s: float = Field(
        30.0, gt=0, description="Seconds within which a backlog shall be worked off, once replicas are there."
    )
    growth: float = Field(1.0, gt=0, description="Most replicas that a backlog adds, for each replica that answers.")
    call_tokens: float = Field(
        100.0, gt=0, description="Tokens of a call until calls were seen; a prompt token counts 0.3."
    )


class RequestAims(Section):
    """What one replica takes of calls that are all alike."""

    ongoing: float | None = Field(
        None, gt=0, description="Calls in flight per replica. Unset: the deployment's `target_ongoing_requests`."
    )
    per_s: float | None = Field(None, gt=0, description="Calls a second per replica. Unset: these do not count.")


class Pace(Section):
    """How slowly replicas are given back."""

    half_life_s: float = Field(
        480.0, gt=0, description="Seconds in which a remembered peak halves: about the time between your bursts."
    )
    margin: float = Field(
        0.1, ge=0, description="A replica is given back only if that much more than the peak would fit without it."
    )


class ZeroAims(Section):
    """When a node without work is stopped, and started again before work is there. Counts where `min_replicas` is 0."""

    idle_s: float = Field(300.0, ge=0, description="Seconds without demand after which the last replica goes.")
    wake_calls: float = Field(
        0.5,
        ge=0,
        description="Calls expected during a start that are demand by themselves: it begins before they come.",
    )


class NodePlan(Section):
    """What is aimed at for one node."""

    pace: Pace = Field(default_factory=Pace, description="How slowly replicas are given back.")
    zero: ZeroAims = Field(default_factory=ZeroAims, description="To no replica and back.")
    warm_up_s: float = Field(
        60.0, ge=0, description="Seconds that a first replica takes to start, until starts were seen."
    )


class RequestPlan(NodePlan):
    """A node whose calls are all alike."""

    requests: RequestAims = Field(default_factory=RequestAims, description="What one replica takes.")


class EnginePlan(NodePlan):
    """A node that generates."""

    engine: EngineAims | None = Field(
        None,
        description="What one replica can do. `policy: headrace` needs it where the number of replicas may change.",
    )


class FallbackPlan(EnginePlan):
    """The large model: its calls are foreseen from the queries at the gateways."""

    escalation_prior: float = Field(0.2, ge=0, le=1, description="Share of queries escalated, until queries were seen.")
    prior_queries: float = Field(20.0, gt=0, description="Queries that `escalation_prior` counts for.")
    while_cold: ColdPolicy = Field(
        "wait_if_soon",
        description="With `policy: headrace`, what becomes of a query for the large model that has no replica: the "
        "small answer is given (`model: large`: 503 with `Retry-After`), the query waits, or it waits where the "
        "start takes `patience_s` at most. With `policy: serve` all wait: nothing else would start one.",
    )
    patience_s: float = Field(10.0, ge=0, description="Seconds of a start that `wait_if_soon` waits for.")


class AffinitySettings(Section):
    """Which replica of the specialists gets a call. Counts with either policy."""

    route: Literal["auto", "on", "off"] = Field(
        "auto",
        description="`on`: the calls of an adapter go to the same replicas; `off`: to whichever has less to do; "
        "`auto`: by adapter while the replicas know more adapters than they have `specialists.adapter_slots`.",
    )
    bound: float = Field(
        1.25,
        gt=1,
        description="A replica that has so many times the mean number of calls in flight, and at least the "
        "deployment's `target_ongoing_requests`, gets no more while another has fewer.",
    )
    spread: float = Field(
        2.0,
        ge=0,
        description="Replicas of an adapter, for each replica's worth of the calls that it has; at least one.",
    )


class ScalingSettings(Section):
    """Who decides on replicas, within the bounds under `deployments`."""

    policy: Literal["serve", "headrace"] = Field(
        "serve",
        description="`serve`: Serve's own policy, on `target_ongoing_requests` of each deployment by itself. "
        "`headrace`: on work, delay and foreseen escalations; what follows `affinity` here counts only then.",
    )
    affinity: AffinitySettings = Field(
        default_factory=AffinitySettings, description="Many adapters on several replicas of the specialists."
    )
    specialists: EnginePlan = Field(default_factory=EnginePlan, description="The small base with its adapters.")
    fallback: FallbackPlan = Field(default_factory=FallbackPlan, description="The large model.")
    router: RequestPlan = Field(default_factory=RequestPlan, description="The domain classifier.")
    retriever: RequestPlan = Field(default_factory=RequestPlan, description="Search in documents.")
    gateway: RequestPlan = Field(default_factory=RequestPlan, description="The HTTP ingress.")
