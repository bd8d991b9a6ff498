"""One node's state and decision."""

from dataclasses import dataclass, field, replace

from serve_app.config.scaling import EngineAims, EnginePlan, FallbackPlan, RequestPlan
from serve_app.core import ConfigError
from serve_app.scaling.hold import Bounds, Held, settle
from serve_app.scaling.idle import Idle, rest
from serve_app.scaling.load import Load, Traffic
from serve_app.scaling.need import (
    engine_need,
    escalation_rate,
    escalation_tokens_per_s,
    request_need,
)
from serve_app.scaling.warmup import WarmUp

Plan = EnginePlan | RequestPlan
"""What is aimed at for one node. Those of a `FallbackPlan` come only from queries that are escalated."""


@dataclass(frozen=True, slots=True)
class NodeState:
    """Carried from one decision to the next."""

    held: Held | None = None
    idle: Idle = field(default_factory=Idle)
    warm_up: WarmUp = field(default_factory=WarmUp)
    target: int = 0
    """Replicas to run."""


def decide(
    plan: Plan, bounds: Bounds, state: NodeState | None, load: Load, traffic: Traffic | None, now_s: float
) -> NodeState:
    """The next state. `traffic` None: no gateway reported, and a fallback sees only the calls that reached it.

    An engine's plan names its speed here, which settings leave out only where replicas are fixed.
    """
    state = state or NodeState(warm_up=WarmUp(plan.warm_up_s))
    load, calls_per_s = _foreseen(plan, load, traffic)
    need = request_need(plan.requests, load) if isinstance(plan, RequestPlan) else engine_need(_aims(plan), load)
    awake = Bounds(max(1, bounds.min_replicas), bounds.max_replicas)
    held = settle(plan.pace, awake, state.held, need, now_s)
    idle, target = state.idle, held.target
    if bounds.min_replicas == 0:
        idle, may_rest = rest(plan.zero, idle, load.ongoing, calls_per_s, state.warm_up.expected_s, now_s)
        target = 0 if may_rest else target
    return NodeState(held, idle, state.warm_up.seen(load.replicas, target, now_s), target)


def _foreseen(plan: Plan, load: Load, traffic: Traffic | None) -> tuple[Load, float]:
    """The load with predicted escalations in it, and calls a second that are expected."""
    if traffic is None or not isinstance(plan, FallbackPlan):
        return load, load.arrivals_per_s
    rate = escalation_rate(traffic, plan.escalation_prior, plan.prior_queries)
    per_call = load.tokens_per_s / load.arrivals_per_s if load.arrivals_per_s > 0 else _aims(plan).call_tokens
    predicted = escalation_tokens_per_s(traffic, rate, per_call)
    calls_per_s = max(load.arrivals_per_s, traffic.queries_per_s * rate)
    return replace(load, tokens_per_s=max(load.tokens_per_s, predicted)), calls_per_s


def _aims(plan: EnginePlan) -> EngineAims:
    if plan.engine is None:
        raise ConfigError("The policy cannot scale an engine whose `engine.tokens_per_s` is not given.")
    return plan.engine
