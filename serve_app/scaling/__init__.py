"""How many replicas each node should have, from what was seen. Plain Python: knows no Ray, no HTTP, no controller.

    meter    in a replica: counts arrivals, work in flight and first-token delays     -> a flat dict of floats
    load     what the policy sees of one node, summed over its replicas
    need     pure formulas: load -> replicas needed, a fraction                       (monotone in every load figure)
    hold     up at once, down slowly: needed -> target, between bounds
    idle     to zero and back, where the least number of replicas is 0
    warmup   how long a cold node still takes, and what the cascade does meanwhile
    policy   the above put together: plan + state + load -> state with the target
    plans    plans from a plain mapping, as a Serve config file carries it

It does not start or stop anything, and does not know a node's speed: `tokens_per_s` of a plan is measured beforehand.
"""

from serve_app.scaling.hold import Bounds, Held, Pace, settle
from serve_app.scaling.idle import Idle, ZeroAims, rest
from serve_app.scaling.load import Load, Traffic
from serve_app.scaling.meter import EscalationMeter, LoadMeter
from serve_app.scaling.need import (
    EngineAims,
    RequestAims,
    engine_need,
    escalation_rate,
    escalation_tokens_per_s,
    request_need,
)
from serve_app.scaling.plans import read_plans
from serve_app.scaling.policy import NodePlan, NodeState, decide
from serve_app.scaling.warmup import ColdPolicy, WarmUp, while_cold

__all__ = [
    "Bounds",
    "ColdPolicy",
    "EngineAims",
    "EscalationMeter",
    "Held",
    "Idle",
    "Load",
    "LoadMeter",
    "NodePlan",
    "NodeState",
    "Pace",
    "RequestAims",
    "Traffic",
    "WarmUp",
    "ZeroAims",
    "decide",
    "engine_need",
    "escalation_rate",
    "escalation_tokens_per_s",
    "read_plans",
    "request_need",
    "rest",
    "settle",
    "while_cold",
]
