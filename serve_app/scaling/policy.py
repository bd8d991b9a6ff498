"""One node's plan, state and decision."""

from dataclasses import dataclass, field, replace
from typing import Literal

from serve_app.scaling.hold import Bounds, Held, Pace, settle
from serve_app.scaling.idle import Idle, ZeroAims, rest
from serve_app.scaling.load import Load, Traffic
from serve_app.scaling.need import (
    EngineAims,
    RequestAims,
    engine_need,
    escalation_rate,
    escalation_tokens_per_s,
    request_need,
)
from serve_app.scaling.warmup import WarmUp

FedBy = Literal["queries", "escalations"]
"""Whether a node's calls come straight from queries, or only from those that are escalated."""


@dataclass(frozen=True, slots=True)
class NodePlan:
    """What is aimed at for one node."""

    aims: EngineAims | RequestAims
    pace: Pace = field(default_factory=Pace)
    zero: ZeroAims = field(default_factory=ZeroAims)
    """Counts only where the bounds allow no replica at all."""
    fed_by: FedBy = "queries"
    warm_up_s: float = 60.0
    """Of a first replica, until starts were seen."""
    escalation_prior: float = 0.2
    """Share of queries escalated, until queries were seen."""
    prior_queries: float = 20.0
    """Queries that the prior counts for."""


@dataclass(frozen=True, slots=True)
class NodeState:
    """Carried from one decision to the next."""

    held: Held | None = None
    idle: Idle = field(default_factory=Idle)
    warm_up: WarmUp = field(default_factory=WarmUp)
    target: int = 0
    """Replicas to run."""


def decide(
    plan: NodePlan, bounds: Bounds, state: NodeState | None, load: Load, traffic: Traffic | None, now_s: float
) -> NodeState:
    """The next state. `traffic` None: no gateway reported, and a fallback sees only the calls that reached it."""
    state = state or NodeState(warm_up=WarmUp(plan.warm_up_s))
    load, calls_per_s = _foreseen(plan, load, traffic)
    need = engine_need(plan.aims, load) if isinstance(plan.aims, EngineAims) else request_need(plan.aims, load)
    awake = Bounds(max(1, bounds.min_replicas), bounds.max_replicas)
    held = settle(plan.pace, awake, state.held, need, now_s)
    idle, target = state.idle, held.target
    if bounds.min_replicas == 0:
        idle, may_rest = rest(plan.zero, idle, load.ongoing, calls_per_s, state.warm_up.expected_s, now_s)
        target = 0 if may_rest else target
    return NodeState(held, idle, state.warm_up.seen(load.replicas, target, now_s), target)


def _foreseen(plan: NodePlan, load: Load, traffic: Traffic | None) -> tuple[Load, float]:
    """The load with predicted escalations in it, and calls a second that are expected."""
    if plan.fed_by == "queries" or traffic is None or not isinstance(plan.aims, EngineAims):
        return load, load.arrivals_per_s
    rate = escalation_rate(traffic, plan.escalation_prior, plan.prior_queries)
    per_call = load.tokens_per_s / load.arrivals_per_s if load.arrivals_per_s > 0 else plan.aims.call_tokens
    predicted = escalation_tokens_per_s(traffic, rate, per_call)
    calls_per_s = max(load.arrivals_per_s, traffic.queries_per_s * rate)
    return replace(load, tokens_per_s=max(load.tokens_per_s, predicted)), calls_per_s
