"""Run as a program: deploys the cascade graph of the cluster profile, with fake engines, on pretend nodes.

Prints on one line where each replica lies: [{"deployment", "node", "head", "pool", "num_gpus"}]. The nodes: a head with
CPUs and two one-GPU workers without labels, or (`pools`) the fewest that cluster.yaml allows.
"""

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from serve_app.config import Settings, load
from serve_app.deployments.switches import every_node

GPU_NODES = 2
WITHIN_S = 60.0
CLUSTER = Path(__file__).resolve().parents[2] / "cluster.yaml"


def settings(ledger: Path, num_gateways: int) -> Settings:
    """The cluster profile with one replica more of the small model, engines that need no GPU, and a ledger file."""
    profile = load("cluster")
    deployments = profile.deployments
    changed = {
        "gateway": deployments.gateway.model_copy(update={"min_replicas": num_gateways, "max_replicas": num_gateways}),
        "specialists": deployments.specialists.model_copy(update={"min_replicas": 2, "max_replicas": 2}),
        "fallback": deployments.fallback.model_copy(update={"min_replicas": 1, "max_replicas": 1}),
    }
    return profile.model_copy(
        update={
            "specialists": profile.specialists.model_copy(update={"engine": "fake"}),
            "fallback": profile.fallback.model_copy(update={"engine": "fake"}),
            "ledger": profile.ledger.model_copy(update={"url": f"sqlite:///{ledger}"}),
            "deployments": deployments.model_copy(update=changed),
        }
    )


def replicas() -> Iterator[dict[str, Any]]:
    from ray.util.state import list_actors, list_nodes

    nodes = {node.node_id: node for node in list_nodes(detail=True)}
    for actor in list_actors(detail=True, filters=[("state", "=", "ALIVE")]):
        _, _, name = actor.class_name.partition("ServeReplica:headrace:")
        if name and actor.node_id in nodes:
            gpus = (actor.required_resources or {}).get("GPU", 0)
            node = nodes[actor.node_id]
            pool = (node.labels or {}).get("headrace-pool")
            yield {"deployment": name, "node": node.node_id, "head": node.is_head_node, "pool": pool, "num_gpus": gpus}


def all_replicas() -> list[dict[str, Any]]:
    """Once the list of actors has as many of each deployment as run: it comes later than Serve's own word."""
    from ray import serve

    deadline_s = time.monotonic() + WITHIN_S
    while True:
        deployments = serve.status().applications["headrace"].deployments
        running = {name: status.replica_states.get("RUNNING", 0) for name, status in deployments.items()}
        found = list(replicas())
        if Counter(one["deployment"] for one in found) == running or time.monotonic() > deadline_s:
            return found
        time.sleep(0.2)


def start_nodes(in_pools: bool) -> Any:
    from ray.cluster_utils import Cluster

    if not in_pools:
        head = {"num_cpus": 4, "num_gpus": 0, "include_dashboard": True}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        for _ in range(GPU_NODES):
            cluster.add_node(num_cpus=4, num_gpus=1)
        return cluster
    config = yaml.safe_load(CLUSTER.read_text())
    types = {
        name: {"num_cpus": kind["resources"]["CPU"], "num_gpus": kind["resources"]["GPU"], "labels": kind["labels"]}
        for name, kind in config["available_node_types"].items()
    }
    cluster = Cluster(initialize_head=True, head_node_args=types.pop("head") | {"include_dashboard": True})
    for name, arguments in types.items():
        for _ in range(config["available_node_types"][name]["min_workers"]):
            cluster.add_node(**arguments)
    return cluster


def main(ledger: Path, in_pools: bool) -> None:
    os.environ |= every_node() | {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    import ray
    from ray import serve

    from graphs.cascade import build

    cluster = start_nodes(in_pools)
    ray.init(address=cluster.address, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(os.environ["PORT"])}, proxy_location="HeadOnly")
    serve.run(build(settings(ledger, num_gateways=2 if in_pools else 1)), name="headrace")
    print(json.dumps(all_replicas()))
    serve.shutdown()
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]), in_pools="pools" in sys.argv[2:])
