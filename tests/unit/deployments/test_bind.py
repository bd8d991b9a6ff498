"""Settings become Serve options; the YAML files beside the graphs say the same as the profiles."""

import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from serve_app.config import DeploymentSettings, Settings, load
from serve_app.deployments.bind import serve_options

GRAPHS = {
    "multi_lora.yaml": ("demo", {"Gateway", "Specialists", "Ledger"}),
    "router.yaml": ("demo", {"Gateway", "Router", "Specialists", "Ledger"}),
    "cascade.yaml": ("demo", {"Gateway", "Specialists", "Fallback", "Ledger"}),
    "production.demo.yaml": ("demo", {"Gateway", "Router", "Specialists", "Fallback", "Ledger"}),
    "production.yaml": ("cluster", {"Gateway", "Router", "Specialists", "Fallback", "Ledger"}),
}


def keys(value: Any, path: str = "") -> set[str]:
    """Dotted keys of nested mappings and lists."""
    if isinstance(value, dict):
        return {path} | {key for name, inner in value.items() for key in keys(inner, f"{path}.{name}")}
    if isinstance(value, list):
        return {path} | {key for inner in value for key in keys(inner, f"{path}[]")}
    return {path}


def test_equal_bounds_are_a_fixed_number_of_replicas() -> None:
    options = serve_options(DeploymentSettings(min_replicas=2, max_replicas=2))
    assert options["num_replicas"] == 2
    assert "autoscaling_config" not in options


def test_different_bounds_autoscale() -> None:
    options = serve_options(DeploymentSettings(min_replicas=1, max_replicas=3, target_ongoing_requests=5))
    assert options["num_replicas"] == "auto"
    assert options["autoscaling_config"] == {"min_replicas": 1, "max_replicas": 3, "target_ongoing_requests": 5}


def test_a_replica_gets_its_threads_and_waits_passively() -> None:
    actor = serve_options(DeploymentSettings(num_cpus=2.5, num_gpus=0.5))["ray_actor_options"]
    variables = actor["runtime_env"]["env_vars"]
    assert (actor["num_cpus"], actor["num_gpus"]) == (2.5, 0.5)
    assert (variables["OMP_NUM_THREADS"], variables["OMP_WAIT_POLICY"]) == ("2", "PASSIVE")


def test_the_demo_fits_on_two_cores() -> None:
    demo = load("demo").deployments
    assert sum(entry.num_cpus * entry.max_replicas for _, entry in demo) <= 2


@pytest.mark.parametrize("name", ["multi_lora", "router", "cascade", "production"])
def test_a_graph_is_at_most_sixty_lines_and_binds_the_gateway(name: str, repo: Path) -> None:
    assert len((repo / "graphs" / f"{name}.py").read_text().splitlines()) <= 60
    graph = importlib.import_module(f"graphs.{name}")
    assert graph.app._bound_deployment.name == "Gateway"


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
def test_a_serve_config_says_what_its_profile_says(file: str, repo: Path) -> None:
    profile, names = GRAPHS[file]
    settings: Settings = load(profile)
    raw = yaml.safe_load((repo / "graphs" / file).read_text())
    (application,) = raw["applications"]
    assert application["runtime_env"]["env_vars"]["HEADRACE_CONFIG"] == profile
    assert raw["http_options"] == {"host": settings.gateway.host, "port": settings.gateway.port}
    assert {entry["name"] for entry in application["deployments"]} == names
    for entry in application["deployments"]:
        options = serve_options(getattr(settings.deployments, entry["name"].lower()))
        wanted = {name: options["ray_actor_options"][name] for name in ("num_cpus", "num_gpus")}
        assert entry["ray_actor_options"] == wanted
        assert entry["num_replicas"] == options["num_replicas"]
        assert entry.get("autoscaling_config") == options.get("autoscaling_config")
