"""Settings become Serve options; the YAML files beside the graphs say the same as the profiles."""

import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from ray._private.label_utils import validate_label_selector
from ray.serve._private.build_app import build_app
from ray.serve.config import AutoscalingConfig
from ray.serve.schema import ServeDeploySchema

from serve_app.config import Settings, load
from serve_app.config import serve as nodes
from serve_app.config.serve import METRICS_INTERVAL_S, autoscaling_policy, deploy_config, deploy_yaml
from serve_app.core import ConfigError
from serve_app.deployments.bind import serve_options
from serve_app.deployments.scaling import HeadracePolicy

GRAPHS = {
    "multi_lora.yaml": ("multi_lora", "demo"),
    "router.yaml": ("router", "demo"),
    "cascade.yaml": ("cascade", "demo"),
    "ensemble.yaml": ("ensemble", "demo"),
    "rag.yaml": ("rag", "demo"),
    "production.demo.yaml": ("production", "demo"),
    "production.yaml": ("production", "cluster"),
}


def keys(value: Any, path: str = "") -> set[str]:
    """Dotted keys of nested mappings and lists."""
    if isinstance(value, dict):
        return {path} | {key for name, inner in value.items() for key in keys(inner, f"{path}.{name}")}
    if isinstance(value, list):
        return {path} | {key for inner in value for key in keys(inner, f"{path}[]")}
    return {path}


def settings(policy: str = "serve", **deployments: dict[str, Any]) -> Settings:
    """The demo, with other deployments. Speeds are given, for `headrace` to be a policy."""
    demo = load("demo").model_dump(exclude_unset=True)
    speed = {"engine": {"tokens_per_s": 100}}
    scaling = {"policy": policy, "specialists": speed, "fallback": speed}
    return Settings.model_validate(demo | {"deployments": deployments, "scaling": scaling})


def test_equal_bounds_are_a_fixed_number_of_replicas() -> None:
    options = serve_options(settings(router={"min_replicas": 2, "max_replicas": 2}), "router")
    assert options["num_replicas"] == 2
    assert "autoscaling_config" not in options


def test_different_bounds_autoscale() -> None:
    bounds = {"min_replicas": 1, "max_replicas": 3, "target_ongoing_requests": 5}
    options = serve_options(settings(router=bounds), "router")
    assert options["num_replicas"] == "auto"
    assert options["autoscaling_config"] == bounds


def test_under_headrace_s_policy_serve_adds_no_delay_and_replicas_report_often() -> None:
    options = serve_options(settings("headrace", fallback={"min_replicas": 0, "max_replicas": 3}), "fallback")
    config = AutoscalingConfig(**options["autoscaling_config"])
    assert (config.upscale_delay_s, config.downscale_delay_s, config.downscale_to_zero_delay_s) == (0, 0, 0)
    assert config.metrics_interval_s == METRICS_INTERVAL_S


def test_under_headrace_s_policy_a_fixed_number_of_gateways_reports_its_queries() -> None:
    fixed = {"min_replicas": 2, "max_replicas": 2}
    options = serve_options(settings("headrace", gateway=fixed, router=fixed), "gateway")
    assert (options["autoscaling_config"]["min_replicas"], options["autoscaling_config"]["max_replicas"]) == (2, 2)
    assert serve_options(settings("headrace", gateway=fixed, router=fixed), "router")["num_replicas"] == 2


@pytest.mark.parametrize("rule", ["cpu", "!spot", "in(a,b)", "!in(a,b)"])
def test_a_rule_on_node_labels_becomes_ray_s_selector(rule: str) -> None:
    given = settings(router={"node_labels": {"headrace-pool": rule}})
    selector = serve_options(given, "router")["ray_actor_options"]["label_selector"]
    assert validate_label_selector(selector) is None
    assert selector == {"headrace-pool": rule}


@pytest.mark.parametrize("rule", ["", "!", "in()", "not cpu", "in(a", "in(a, b)"])
def test_a_rule_that_ray_would_not_read_is_refused(rule: str) -> None:
    with pytest.raises(ValidationError, match="node_labels"):
        settings(router={"node_labels": {"headrace-pool": rule}})


def test_a_bound_per_node_is_told_to_serve() -> None:
    bounds = {"max_per_node": 1, "max_replicas": 3}
    assert serve_options(settings(gateway=bounds, router=bounds), "router")["max_replicas_per_node"] == 1
    assert serve_options(settings(router={"max_per_node": 2}), "router")["max_replicas_per_node"] == 2


def test_successors_may_start_before_the_old_replicas_stop() -> None:
    assert serve_options(settings(), "gateway")["max_surge_percent"] == 0
    assert serve_options(settings(gateway={"surge_percent": 100}), "gateway")["max_surge_percent"] == 100


def test_a_replica_gets_its_threads_and_waits_passively() -> None:
    actor = serve_options(settings(fallback={"num_cpus": 2.5, "num_gpus": 0.5}), "fallback")["ray_actor_options"]
    variables = actor["runtime_env"]["env_vars"]
    assert (actor["num_cpus"], actor["num_gpus"]) == (2.5, 0.5)
    assert (variables["OMP_NUM_THREADS"], variables["OMP_WAIT_POLICY"]) == ("2", "PASSIVE")


def test_a_node_with_an_interpreter_of_its_own_runs_in_it_alone() -> None:
    demo, python = load("demo"), "/opt/my env/python"
    given = demo.model_copy(update={"specialists": demo.specialists.model_copy(update={"python": python})})
    environment = serve_options(given, "specialists")["ray_actor_options"]["runtime_env"]
    assert environment["py_executable"] == f"'{python}'", "Ray gives it to a shell"
    assert environment["env_vars"]["OMP_NUM_THREADS"] == "1"
    for node in ("gateway", "router", "fallback", "ledger"):
        assert "py_executable" not in serve_options(given, node)["ray_actor_options"]["runtime_env"]
    entries = deploy_config(given, "cascade", "x")["applications"][0]["deployments"]
    told = {entry["name"]: entry["ray_actor_options"]["runtime_env"] for entry in entries}
    assert told["Specialists"] == environment, "with Serve, what YAML says of an actor is all"
    assert told["Fallback"]["env_vars"]["OMP_NUM_THREADS"] == "1"
    assert "py_executable" not in told["Fallback"]


def test_the_demo_fits_on_two_cores() -> None:
    demo = load("demo").deployments
    assert sum(entry.num_cpus * entry.max_replicas for _, entry in demo) <= 2


@pytest.mark.parametrize("name", ["multi_lora", "router", "cascade", "ensemble", "rag", "production"])
def test_a_graph_is_at_most_sixty_lines_and_binds_the_gateway(name: str, repo: Path) -> None:
    assert len((repo / "graphs" / f"{name}.py").read_text().splitlines()) <= 60
    graph = importlib.import_module(f"graphs.{name}")
    assert graph.app._bound_deployment.name == "Gateway"


def test_the_graph_of_an_ensemble_needs_one() -> None:
    graph = importlib.import_module("graphs.ensemble")
    with pytest.raises(ConfigError, match=r"ensemble\.members is empty"):
        graph.build(load("cluster"))


@pytest.mark.parametrize("profile", ["large", "cluster"])
def test_every_profile_builds_the_whole_graph(profile: str) -> None:
    graph = importlib.import_module("graphs.production")
    assert graph.build(load(profile))._bound_deployment.name == "Gateway"


@pytest.mark.parametrize("file", GRAPHS)
def test_a_serve_config_has_no_key_that_serve_would_ignore(file: str, repo: Path) -> None:
    raw = yaml.safe_load((repo / "graphs" / file).read_text())
    parsed = ServeDeploySchema.model_validate(raw).model_dump(mode="json", exclude_unset=True)
    assert keys(raw) <= keys(parsed)


@pytest.mark.parametrize("file", GRAPHS)
def test_a_serve_config_is_what_the_command_writes(file: str, repo: Path) -> None:
    graph, profile = GRAPHS[file]
    assert (repo / "graphs" / file).read_text() == deploy_yaml(load(profile), graph, profile)


@pytest.mark.parametrize("enabled", [False, True], ids=["without documents", "with documents"])
@pytest.mark.parametrize("graph", nodes.GRAPHS)
def test_a_serve_config_names_the_deployments_that_the_graph_binds(graph: str, enabled: bool) -> None:
    demo = load("demo")
    given = demo.model_copy(update={"rag": demo.rag.model_copy(update={"enabled": enabled})})
    app = importlib.import_module(f"graphs.{graph}").build(given)
    bound = {deployment.name for deployment in build_app(app, name="headrace").deployments}
    (application,) = deploy_config(given, graph, "demo")["applications"]
    assert {entry["name"] for entry in application["deployments"]} == bound
    assert ("Retriever" in bound) == (enabled or graph == "rag")


def test_a_retriever_that_scales_has_a_plan() -> None:
    given = settings("headrace", retriever={"max_replicas": 3, "target_ongoing_requests": 4})
    policy = autoscaling_policy(given, nodes.nodes_of("rag", given))
    assert policy is not None
    assert policy["policy_kwargs"] == {"retriever": {"requests": {"ongoing": 4.0}}}
    HeadracePolicy(**policy["policy_kwargs"])


def test_a_serve_config_carries_the_policy_with_the_figures_of_the_settings() -> None:
    given = settings("headrace", fallback={"min_replicas": 0, "max_replicas": 3}, gateway={"max_replicas": 2})
    (application,) = deploy_config(given, "production", "mine.yaml")["applications"]
    assert application["autoscaling_policy"] == {
        "policy_function": "serve_app.deployments.scaling:HeadracePolicy",
        "policy_kwargs": {
            "gateway": {"requests": {"ongoing": 8.0}},
            "fallback": {"engine": {"tokens_per_s": 100.0}},
        },
    }
    HeadracePolicy(**application["autoscaling_policy"]["policy_kwargs"])


def test_where_nothing_scales_there_is_no_policy() -> None:
    assert autoscaling_policy(settings("headrace"), nodes.GRAPHS["production"]) is None
    assert autoscaling_policy(settings("headrace", fallback={"max_replicas": 3}), nodes.GRAPHS["router"]) is None
    assert autoscaling_policy(settings("serve", fallback={"max_replicas": 3}), nodes.GRAPHS["production"]) is None


def test_an_unknown_graph_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match=r"There is no graph 'rooter'; choose production, "):
        deploy_config(load("demo"), "rooter", "demo")
