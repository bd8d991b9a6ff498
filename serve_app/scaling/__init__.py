"""How many replicas each node should have, from what was seen. Plain Python: knows no Ray, no HTTP, no controller.

    meter    in a replica: counts arrivals, work in flight and first-token delays     -> a flat dict of floats
    load     what the policy sees of one node, summed over its replicas
    need     pure formulas: load -> replicas needed, a fraction                       (monotone in every load figure)
    hold     up at once, down slowly: needed -> target, between bounds
    idle     to zero and back, where the least number of replicas is 0
    warmup   how long a cold node still takes, and what the cascade does meanwhile
    policy   the above put together: plan + state + load -> state with the target

What is aimed at is the settings' section `scaling` (`serve_app.config.scaling`). It starts and stops nothing, and
does not know a node's speed: `tokens_per_s` is measured beforehand.
"""

from serve_app.scaling.hold import Bounds, settle
from serve_app.scaling.load import Load, Traffic
from serve_app.scaling.meter import EscalationMeter, LoadMeter
from serve_app.scaling.need import engine_need
from serve_app.scaling.policy import NodeState, Plan, decide
from serve_app.scaling.warmup import WarmUp, while_cold

__all__ = [
    "Bounds",
    "EscalationMeter",
    "Load",
    "LoadMeter",
    "NodeState",
    "Plan",
    "Traffic",
    "WarmUp",
    "decide",
    "engine_need",
    "settle",
    "while_cold",
]
