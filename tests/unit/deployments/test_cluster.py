"""cluster.yaml is what Ray's own launcher accepts, and its nodes export the Serve switches."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray
import yaml

from serve_app.config import load
from serve_app.deployments.switches import every_node


@pytest.fixture(scope="module")
def cluster(repo: Path) -> dict[str, Any]:
    return dict(yaml.safe_load((repo / "cluster.yaml").read_text()))


def test_it_is_valid_against_ray_s_own_schema(cluster: dict[str, Any]) -> None:
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    jsonschema.validate(cluster, schema)


def test_every_node_exports_the_switches_before_ray_starts(cluster: dict[str, Any]) -> None:
    for commands in (cluster["head_start_ray_commands"], cluster["worker_start_ray_commands"]):
        (start,) = [command for command in commands if "ray start" in command]
        exports = start[: start.index("ray start")]
        for name in every_node():
            assert f"{name}=" in exports


def test_the_head_has_no_gpu_and_the_workers_hold_the_smallest_graph(cluster: dict[str, Any]) -> None:
    types, deployments = cluster["available_node_types"], load("cluster").deployments
    assert types[cluster["head_node_type"]]["resources"]["GPU"] == 0
    gpus = sum(entry.num_gpus * entry.min_replicas for _, entry in deployments)
    assert types["gpu"]["resources"]["GPU"] * types["gpu"]["min_workers"] >= gpus
    per_gpu_cpus = deployments.specialists.num_cpus / deployments.specialists.num_gpus
    assert types["gpu"]["resources"]["CPU"] >= per_gpu_cpus
