"""cluster.yaml: Ray's launcher accepts it, its nodes export the switches, and its pools hold the production graph."""

import json
import shlex
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray
import yaml
from ray.autoscaler._private.util import fillout_defaults

from serve_app.config import load
from serve_app.deployments.switches import every_node
from tests.unit.deploy.pools import Pool, can_hold, fit_together

POOLS = {
    "Gateway": "cpu",
    "Router": "cpu",
    "Retriever": "cpu",
    "Ledger": "cpu",
    "Specialists": "specialists",
    "Fallback": "fallback",
}


@pytest.fixture(scope="module")
def cluster(repo: Path) -> dict[str, Any]:
    return dict(yaml.safe_load((repo / "cluster.yaml").read_text()))


@pytest.fixture(scope="module")
def pools(cluster: dict[str, Any]) -> list[Pool]:
    return [
        Pool(name, entry["resources"], entry["labels"], entry.get("min_workers", 1), entry.get("max_workers", 1))
        for name, entry in cluster["available_node_types"].items()
    ]


def test_it_is_valid_against_ray_s_own_schema(cluster: dict[str, Any]) -> None:
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    jsonschema.validate(cluster, schema)
    assert set(cluster["available_node_types"]) == set(fillout_defaults(cluster)["available_node_types"])


def test_every_node_exports_the_switches_before_ray_starts(cluster: dict[str, Any]) -> None:
    for commands in (cluster["head_start_ray_commands"], cluster["worker_start_ray_commands"]):
        (start,) = [command for command in commands if "ray start" in command]
        exports = shlex.split(start[: start.index(";")])
        values = dict(word.split("=", 1) for word in exports if "=" in word)
        assert every_node().keys() <= values.keys()
        differ = {name for name, value in every_node().items() if values[name] != value}
        assert differ == {"RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S"}, "longer than on one machine"


def test_nothing_runs_on_the_head(cluster: dict[str, Any]) -> None:
    resources = cluster["available_node_types"][cluster["head_node_type"]]["resources"]
    assert set(resources.values()) == {0}


def test_the_launcher_may_start_as_many_nodes_as_the_pools_may_have(cluster: dict[str, Any], pools: list[Pool]) -> None:
    assert cluster["max_workers"] == sum(pool.max_nodes for pool in pools if pool.name != cluster["head_node_type"])


@pytest.mark.parametrize(("deployment", "pool"), POOLS.items())
def test_each_deployment_fits_the_nodes_of_one_pool_only(deployment: str, pool: str, pools: list[Pool]) -> None:
    entry = getattr(load("cluster").deployments, deployment.lower())
    assert [one.name for one in pools if can_hold(one, entry)] == [pool]


def test_the_fewest_nodes_hold_the_fewest_replicas_and_the_most_the_most(pools: list[Pool]) -> None:
    deployments = load("cluster").deployments
    for pool in pools:
        mine = [entry for name, entry in deployments if POOLS.get(name.capitalize()) == pool.name]
        assert fit_together(pool, pool.min_nodes, [(entry, entry.min_replicas) for entry in mine])
        assert fit_together(pool, pool.max_nodes, [(entry, entry.max_replicas) for entry in mine])


def test_only_specialists_are_on_nodes_that_may_be_taken_away(cluster: dict[str, Any]) -> None:
    types = cluster["available_node_types"]
    spot = {name for name, entry in types.items() if "InstanceMarketOptions" in entry["node_config"]}
    assert spot == {"specialists"}
