"""Who decides: Headrace's policy through its Ray shim, or Ray's own default one, both as Serve's controller calls them.

Both get real `AutoscalingContext`s and `AutoscalingConfig`s and run inside Serve's own wrappers, which apply delays and
bounds; only the clock that those read is the simulation's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Protocol

from ray.serve import autoscaling_policy as ray_policy
from ray.serve._private.common import DeploymentID, TimeStampedValue
from ray.serve.config import AutoscalingConfig, AutoscalingContext

from bench.scaling.nodes import SimNode
from serve_app.config.serve import METRICS_INTERVAL_S, undelayed
from serve_app.deployments.scaling import HeadracePolicy
from serve_app.scaling import EscalationMeter

Nodes = Mapping[str, SimNode]


class Policy(Protocol):
    """Called every second; returns targets of the nodes to change."""

    def __call__(self, now_s: float) -> Mapping[str, int]: ...


class Seen:
    """Ongoing calls as Serve's controller sees them: sampled every second, pushed now and then, a mean over a while."""

    def __init__(self, push_s: float, look_back_s: float) -> None:
        self._push_s, self._samples = push_s, deque[int](maxlen=max(1, round(look_back_s)))
        self._pushed_at_s = -push_s
        self.value = 0.0

    def sample(self, now_s: float, ongoing: int) -> float:
        """One sample; the value as last pushed."""
        self._samples.append(ongoing)
        if now_s - self._pushed_at_s >= self._push_s:
            self._pushed_at_s = now_s
            self.value = sum(self._samples) / len(self._samples)
        return self.value


@dataclass(frozen=True)
class RayKnobs:
    """Settings of Ray's policy. The defaults are Ray's own."""

    upscale_delay_s: float = 30.0
    downscale_delay_s: float = 600.0
    look_back_s: float = 30.0
    push_s: float = 10.0
    target_factor: float = 1.0
    """Times the node's target of ongoing requests."""


@dataclass(frozen=True, slots=True)
class _Deployment:
    """What a policy is told of one, beside its load."""

    name: str
    running: int = 1
    target: int = 1
    min_replicas: int = 1
    max_replicas: int = 1

    @classmethod
    def of(cls, node: SimNode) -> _Deployment:
        shape = node.shape
        return cls(shape.name, node.running, node.target, shape.min_replicas, shape.max_replicas)


def _context(
    one: _Deployment, config: AutoscalingConfig, state: dict[str, Any], now_s: float, **seen: Any
) -> AutoscalingContext:
    return AutoscalingContext(
        deployment_id=DeploymentID(one.name, "sim"),
        deployment_name=one.name,
        app_name="sim",
        current_num_replicas=one.running,
        target_num_replicas=one.target,
        running_replicas=[],
        aggregated_metrics=None,
        capacity_adjusted_min_replicas=one.min_replicas,
        capacity_adjusted_max_replicas=one.max_replicas,
        policy_state=state,
        last_scale_up_time=None,
        last_scale_down_time=None,
        current_time=now_s,
        config=config,
        **seen,
    )


def _bounded(node: SimNode, replicas: float) -> int:
    return max(node.shape.min_replicas, min(node.shape.max_replicas, int(replicas)))


def ray_default(nodes: Nodes, clock: Callable[[], float], knobs: RayKnobs) -> Policy:
    """`ray.serve.autoscaling_policy.default_autoscaling_policy`, one per deployment."""
    _set_clock(clock)
    decide = ray_policy._apply_autoscaling_config(ray_policy.default_autoscaling_policy)
    states: dict[str, dict[str, Any]] = {name: {} for name in nodes}
    seen = {name: Seen(knobs.push_s, knobs.look_back_s) for name in nodes}
    configs = {
        name: AutoscalingConfig(
            min_replicas=node.shape.min_replicas,
            max_replicas=node.shape.max_replicas,
            target_ongoing_requests=node.shape.target_ongoing * knobs.target_factor,
            upscale_delay_s=knobs.upscale_delay_s,
            downscale_delay_s=knobs.downscale_delay_s,
        )
        for name, node in nodes.items()
    }

    def policy(now_s: float) -> Mapping[str, int]:
        targets = {}
        for name, node in nodes.items():
            total = seen[name].sample(now_s, node.ongoing)
            ctx = _context(
                _Deployment.of(node), configs[name], states[name], now_s, total_num_requests=total,
                total_queued_requests=0.0, raw_metrics=None,
            )  # fmt: skip
            wanted, states[name] = decide(ctx)
            targets[name] = _bounded(node, wanted)
        return targets

    return policy


def headrace(nodes: Nodes, clock: Callable[[], float], plans: Mapping[str, Any], gateway: EscalationMeter) -> Policy:
    """`deployments.scaling.HeadracePolicy`, application level, with figures as old as its reports make them."""
    _set_clock(clock)
    decide = ray_policy._apply_app_level_autoscaling_config(HeadracePolicy(**plans))
    states: dict[DeploymentID, dict[str, Any]] = {}
    look_back_s = 5 * METRICS_INTERVAL_S
    seen = {name: Seen(METRICS_INTERVAL_S, look_back_s) for name in nodes}
    configs = {
        name: AutoscalingConfig(
            min_replicas=node.shape.min_replicas, max_replicas=node.shape.max_replicas, **undelayed()
        )
        for name, node in nodes.items()
    }
    front, front_config = _Deployment("Gateway"), AutoscalingConfig(**undelayed())
    told: dict[str, dict[str, Any]] = {}

    def policy(now_s: float) -> Mapping[str, int]:
        if not told or now_s % METRICS_INTERVAL_S == 0:
            told.update({name: _series(node.meter.stats(), now_s) for name, node in nodes.items() if node.running})
            told["Gateway"] = _series(gateway.stats(), now_s)
        contexts = {DeploymentID("Gateway", "sim"): _context(
            front, front_config, {}, now_s, total_num_requests=0.0, total_queued_requests=0.0,
            raw_metrics=told["Gateway"],
        )}  # fmt: skip
        for name, node in nodes.items():
            key = DeploymentID(name, "sim")
            total = seen[name].sample(now_s, node.ongoing)
            cold = node.running == 0  # nobody reports but the handles, on what waits there
            contexts[key] = _context(
                _Deployment.of(node), configs[name], states.get(key, {}), now_s, total_num_requests=total,
                total_queued_requests=total if cold else 0.0, raw_metrics={} if cold else told.get(name, {}),
            )  # fmt: skip
        targets, new_states = decide(contexts)
        states.update(new_states)
        return {key.name: _bounded(nodes[key.name], wanted) for key, wanted in targets.items() if key.name in nodes}

    return policy


def _series(stats: Mapping[str, float], now_s: float) -> dict[str, Any]:
    return {name: {"all": [TimeStampedValue(now_s, value)]} for name, value in stats.items()}


def _set_clock(clock: Callable[[], float]) -> None:
    """Serve's delays read `time.time()` of that module."""
    ray_policy.time = SimpleNamespace(time=clock, monotonic=clock)
