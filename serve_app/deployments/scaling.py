"""Serve's application-level autoscaling policy: Ray's contexts in, the decisions of serve_app.scaling out.

Serve 2.60 calls the policy in its controller every 0.1 s with one context per deployment that has an
`autoscaling_config`, and applies delays and factors of that config to what it returns; `config.serve` sets them so that
they change nothing. Replicas report through `record_autoscaling_stats`, which Serve pushes every `metrics_interval_s`.
It adds nothing else: no formula is here. `headrace deploy-config` writes a file that names it.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from pydantic import ValidationError
from ray.serve._private.common import DeploymentID
from ray.serve.config import AutoscalingContext

from serve_app.config import describe
from serve_app.config.scaling import EnginePlan, ScalingSettings
from serve_app.core import ConfigError
from serve_app.scaling import Bounds, Load, NodeState, Plan, Traffic, decide

_STATE = "headrace"
_GATEWAY = "Gateway"
"""Reports queries and escalations."""
_LOAD_NAMES = tuple(field.name for field in fields(Load) if field.name != "replicas")
_TRAFFIC_NAMES = tuple(field.name for field in fields(Traffic))

States = dict[DeploymentID, dict[str, Any]]


class HeadracePolicy:
    """Serve makes one in its controller, with `policy_kwargs`, and calls it with all contexts of the application."""

    def __init__(self, **plans: Mapping[str, Any]) -> None:
        """`plans`: as in the settings' section `scaling`; a deployment without one keeps the replicas it has.

        Raises ConfigError on a bad plan.
        """
        try:
            settings = ScalingSettings(policy="headrace", **plans)
        except ValidationError as error:
            raise ConfigError(f"scaling: {describe(error)}") from error
        self._plans: dict[str, Plan] = {node.capitalize(): getattr(settings, node) for node in plans}

    def __call__(self, contexts: dict[DeploymentID, AutoscalingContext]) -> tuple[dict[DeploymentID, int], States]:
        """Targets and states of the deployments that have a plan."""
        traffic = next((_traffic(ctx) for name, ctx in contexts.items() if name.name == _GATEWAY), None)
        targets: dict[DeploymentID, int] = {}
        states: States = {}
        for deployment, ctx in contexts.items():
            plan = self._plans.get(deployment.name)
            if plan is None:
                continue
            per_call = plan.engine.call_tokens if isinstance(plan, EnginePlan) and plan.engine else 0.0
            bounds = Bounds(ctx.capacity_adjusted_min_replicas, ctx.capacity_adjusted_max_replicas)
            before: NodeState | None = ctx.policy_state.get(_STATE)
            after = decide(plan, bounds, before, _load(ctx, per_call), traffic, ctx.current_time)
            targets[deployment], states[deployment] = after.target, {_STATE: after}
        return targets, states


def _load(ctx: AutoscalingContext, call_tokens: float) -> Load:
    """Newest figures of the replicas, summed (delay: mean), and the calls that wait at handles for any replica.

    Where replicas report, their own counts are taken: Serve's would add a gateway's questions after an engine's state,
    and no fallback would ever be idle.
    """
    told = _newest(ctx, _LOAD_NAMES)
    queued = ctx.total_queued_requests or 0.0
    per_call = told["tokens_in_flight"] / told["ongoing"] if told["ongoing"] else call_tokens
    return Load(
        replicas=ctx.current_num_replicas,
        arrivals_per_s=told["arrivals_per_s"],
        ongoing=told["ongoing"] + queued if "ongoing" in (ctx.raw_metrics or {}) else ctx.total_num_requests,
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
