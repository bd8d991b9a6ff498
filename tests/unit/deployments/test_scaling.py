"""The shim between Serve's application-level autoscaling and the policy, run by Serve's own wrapper and schema."""

from typing import Any

import pytest
from ray.serve._private.application_state import AutoscalingPolicy
from ray.serve._private.autoscaling_state import _resolve_policy_callable
from ray.serve._private.common import DeploymentID, TimeStampedValue
from ray.serve.autoscaling_policy import _apply_app_level_autoscaling_config
from ray.serve.config import AutoscalingConfig, AutoscalingContext
from ray.serve.schema import ServeDeploySchema

from serve_app.config.serve import undelayed
from serve_app.core import Answer, Attempt, ConfigError, Usage
from serve_app.deployments.metered import MeteredMetrics
from serve_app.deployments.scaling import HeadracePolicy
from serve_app.scaling import EscalationMeter

NODES: dict[str, Any] = {
    "specialists": {"engine": {"tokens_per_s": 700}},
    "fallback": {"engine": {"tokens_per_s": 200, "call_tokens": 100}},
    "router": {"requests": {"ongoing": 16}},
}


def context(name: str, state: dict[str, Any], stats: list[dict[str, float]], **given: Any) -> AutoscalingContext:
    """What Serve's controller would make of these reports, one per replica."""
    raw = {
        key: {f"replica {index}": [TimeStampedValue(1.0, one[key])] for index, one in enumerate(stats)}
        for key in (stats[0] if stats else {})
    }
    return AutoscalingContext(
        deployment_id=DeploymentID(name, "headrace"),
        deployment_name=name,
        app_name="headrace",
        current_num_replicas=given.get("running", max(1, len(stats))),
        target_num_replicas=given.get("target", max(1, len(stats))),
        running_replicas=[],
        total_num_requests=given.get("ongoing", 0.0),
        total_queued_requests=given.get("queued", 0.0),
        aggregated_metrics=None,
        raw_metrics=raw,
        capacity_adjusted_min_replicas=given.get("least", 1),
        capacity_adjusted_max_replicas=8,
        policy_state=state,
        last_scale_up_time=None,
        last_scale_down_time=None,
        current_time=given.get("now_s", 0.0),
        config=AutoscalingConfig(min_replicas=given.get("least", 1), max_replicas=8, **undelayed()),
    )


def load(tokens_per_s: float) -> dict[str, float]:
    return {
        "arrivals_per_s": tokens_per_s / 100,
        "ongoing": 1.0,
        "tokens_per_s": tokens_per_s,
        "tokens_in_flight": 100.0,
        "queue_delay_s": 0.1,
    }


def asked(contexts: list[AutoscalingContext], policy: Any = None) -> dict[str, int]:
    policy = policy or _apply_app_level_autoscaling_config(HeadracePolicy(**NODES))
    targets, _ = policy({ctx.deployment_id: ctx for ctx in contexts})
    return {deployment.name: target for deployment, target in targets.items()}


def test_replicas_reports_are_summed_and_the_target_is_taken_at_once() -> None:
    assert asked([context("Specialists", {}, [load(700), load(700)])]) == {"Specialists": 3}


def test_the_gateway_s_queries_scale_the_fallback() -> None:
    gateways = [{"queries_per_s": 15.0, "decided": 500.0, "escalated": 100.0}] * 2
    contexts = [context("Gateway", {}, gateways), context("Fallback", {}, [load(20)])]
    assert asked(contexts) == {"Fallback": 4}  # 2 x 15 x about 0.2 x 100 / (200 x 0.75); the gateway has no plan


def test_requests_scale_the_router() -> None:
    assert asked([context("Router", {}, [], ongoing=40.0)]) == {"Router": 3}


def test_state_goes_through_serve_and_holds_replicas_after_a_burst() -> None:
    policy = _apply_app_level_autoscaling_config(HeadracePolicy(**NODES))
    key = DeploymentID("Specialists", "headrace")
    targets, states = policy({key: context("Specialists", {}, [load(2000)])})
    assert targets[key] == 4
    targets, states = policy({key: context("Specialists", states[key], [load(10)] * 4, now_s=60.0)})
    assert targets[key] == 4
    targets, _ = policy({key: context("Specialists", states[key], [load(10)] * 4, now_s=6000.0)})
    assert targets[key] == 1


def test_what_waits_at_handles_wakes_a_fallback_without_replicas() -> None:
    assert asked([context("Fallback", {}, [], least=0, running=0, target=0, ongoing=3.0, queued=3.0)]) == {
        "Fallback": 1
    }


def test_a_serve_config_file_carries_the_policy_and_its_plans() -> None:
    given = {"policy_function": "serve_app.deployments.scaling:HeadracePolicy", "policy_kwargs": NODES}
    schema = ServeDeploySchema.model_validate(
        {"applications": [{"name": "headrace", "import_path": "graphs.production:app", "autoscaling_policy": given}]}
    )
    policy = schema.applications[0].autoscaling_policy
    made = _resolve_policy_callable(AutoscalingPolicy(**policy))  # pickled and read again, as in Serve's controller
    assert asked([context("Router", {}, [], ongoing=40.0)], _apply_app_level_autoscaling_config(made)) == {"Router": 3}


@pytest.mark.parametrize(
    ("plans", "key"),
    [
        ({"router": {"engine": {"tokens_per_s": 1}}}, "router.engine"),
        ({"fallback": {"engine": {"tokens_per_s": 0}}}, "fallback.engine.tokens_per_s"),
        ({"ledger": {}}, "ledger"),
    ],
)
def test_a_bad_plan_fails_when_serve_makes_the_policy(plans: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        HeadracePolicy(**plans)


def test_questions_after_an_engine_s_state_are_no_demand() -> None:
    """Serve counts them among the calls in flight; the replica's own meter does not."""
    idle = dict.fromkeys(load(0), 0.0)
    contexts = [context("Fallback", {}, [idle], least=0, ongoing=0.02)]
    assert asked(contexts) == {"Fallback": 0}


def test_the_gateway_counts_who_asked_the_large_model() -> None:
    meter = EscalationMeter()
    metrics = MeteredMetrics(meter)
    for index, node in enumerate(("specialists", "fallback", "specialists", "cache")):
        metrics.started()
        attempt = Attempt(node, "m", None, "accepted", Usage(), 1.0)
        metrics.finished(Answer(f"q{index}", 0.0, "auto", "accepted", (attempt,), ms=1.0))
    assert (meter.stats()["decided"], meter.stats()["escalated"]) == (4, 1)
    assert meter.stats()["queries_per_s"] > 0
