"""Serve's application-level autoscaling policy: Ray's contexts in, the decisions of serve_app.scaling out.

Serve 2.60 calls the policy in its controller every 0.1 s with one context per deployment that has an
`autoscaling_config`, and applies delays and factors of that config to what it returns; `autoscaling_config` below sets
them so that they change nothing. Replicas report through `record_autoscaling_stats`, which Serve pushes every
`metrics_interval_s`. It adds nothing else: no formula is here. In a Serve config file:

    applications:
      - name: headrace
        autoscaling_policy:
          policy_function: serve_app.deployments.scaling:HeadracePolicy
          policy_kwargs: {nodes: {Specialists: {engine: {tokens_per_s: 720}}, ...}}
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ray.serve._private.common import DeploymentID
from ray.serve.config import AutoscalingContext

from serve_app.config import DeploymentSettings
from serve_app.scaling import Bounds, Load, NodeState, Traffic, decide, read_plans
from serve_app.scaling.need import EngineAims

METRICS_INTERVAL_S = 2.0
"""How often a replica reports. Serve's own 10 s would be most of the time that a burst needs to fill the queues."""
_STATE = "headrace"
_LOAD_NAMES = tuple(field.name for field in fields(Load) if field.name != "replicas")
_TRAFFIC_NAMES = tuple(field.name for field in fields(Traffic))

States = dict[DeploymentID, dict[str, Any]]


class HeadracePolicy:
    """Serve makes one in its controller, with `policy_kwargs`, and calls it with all contexts of the application."""

    def __init__(self, nodes: Mapping[str, Mapping[str, Any]], gateway: str = "Gateway") -> None:
        """`nodes`: deployment name -> plan; others keep the replicas they have. Raises ConfigError on a bad plan.

        `gateway`: the deployment that reports queries and escalations.
        """
        self._plans = read_plans(nodes)
        self._gateway = gateway

    def __call__(self, contexts: dict[DeploymentID, AutoscalingContext]) -> tuple[dict[DeploymentID, int], States]:
        """Targets and states of the deployments that have a plan."""
        traffic = next((_traffic(ctx) for name, ctx in contexts.items() if name.name == self._gateway), None)
        targets: dict[DeploymentID, int] = {}
        states: States = {}
        for deployment, ctx in contexts.items():
            plan = self._plans.get(deployment.name)
            if plan is None:
                continue
            per_call = plan.aims.call_tokens if isinstance(plan.aims, EngineAims) else 0.0
            bounds = Bounds(ctx.capacity_adjusted_min_replicas, ctx.capacity_adjusted_max_replicas)
            before: NodeState | None = ctx.policy_state.get(_STATE)
            after = decide(plan, bounds, before, _load(ctx, per_call), traffic, ctx.current_time)
            targets[deployment], states[deployment] = after.target, {_STATE: after}
        return targets, states


def autoscaling_config(resources: DeploymentSettings) -> dict[str, Any]:
    """A deployment's config under the policy: its bounds, quick reports, and no delay of Serve's own.

    Equal bounds get one too, so that a fixed number of gateways still reports its queries.
    """
    return {
        "min_replicas": resources.min_replicas,
        "max_replicas": resources.max_replicas,
        "target_ongoing_requests": resources.target_ongoing_requests,
        "upscale_delay_s": 0.0,
        "downscale_delay_s": 0.0,
        "downscale_to_zero_delay_s": 0.0,
        "metrics_interval_s": METRICS_INTERVAL_S,
        "look_back_period_s": 5 * METRICS_INTERVAL_S,
    }


def _load(ctx: AutoscalingContext, call_tokens: float) -> Load:
    """Newest figures of the replicas, summed (delay: mean), and the calls that wait at handles for any replica."""
    told = _newest(ctx, _LOAD_NAMES)
    queued = ctx.total_queued_requests or 0.0
    per_call = told["tokens_in_flight"] / told["ongoing"] if told["ongoing"] else call_tokens
    return Load(
        replicas=ctx.current_num_replicas,
        arrivals_per_s=told["arrivals_per_s"],
        ongoing=max(ctx.total_num_requests, told["ongoing"] + queued),
        tokens_per_s=told["tokens_per_s"],
        tokens_in_flight=told["tokens_in_flight"] + queued * per_call,
        queue_delay_s=told["queue_delay_s"] / max(1, len((ctx.raw_metrics or {}).get("queue_delay_s", ()))),
    )


def _traffic(ctx: AutoscalingContext) -> Traffic:
    return Traffic(**_newest(ctx, _TRAFFIC_NAMES))


def _newest(ctx: AutoscalingContext, names: tuple[str, ...]) -> dict[str, float]:
    """Each metric's last value, summed over replicas; 0 where none has reported."""
    raw = ctx.raw_metrics or {}
    return {name: sum(series[-1].value for series in raw.get(name, {}).values() if series) for name in names}
