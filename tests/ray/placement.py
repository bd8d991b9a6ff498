"""Run as a program: deploys the cascade graph of the cluster profile, with fake engines, on pretend nodes (one CPU head
and two one-GPU workers), and prints on one line which node each replica lies on:
[{"deployment", "node", "head", "num_gpus"}].
"""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from serve_app.config import Settings, load
from serve_app.deployments.switches import every_node

GPU_NODES = 2


def settings(ledger: Path) -> Settings:
    """The cluster profile with one replica more of the small model, engines that need no GPU, and a ledger file."""
    profile = load("cluster")
    deployments = profile.deployments
    changed = {
        "gateway": deployments.gateway.model_copy(update={"min_replicas": 1, "max_replicas": 1}),
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

    heads = {node.node_id for node in list_nodes() if node.is_head_node}
    for actor in list_actors(detail=True, filters=[("state", "=", "ALIVE")]):
        _, _, name = actor.class_name.partition("ServeReplica:headrace:")
        if name:
            gpus = (actor.required_resources or {}).get("GPU", 0)
            yield {"deployment": name, "node": actor.node_id, "head": actor.node_id in heads, "num_gpus": gpus}


def main(ledger: Path) -> None:
    os.environ |= every_node() | {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    import ray
    from ray import serve
    from ray.cluster_utils import Cluster

    from graphs.cascade import build

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 4, "num_gpus": 0, "include_dashboard": True})
    for _ in range(GPU_NODES):
        cluster.add_node(num_cpus=4, num_gpus=1)
    ray.init(address=cluster.address, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(os.environ["PORT"])}, proxy_location="HeadOnly")
    serve.run(build(settings(ledger)), name="headrace")
    print(json.dumps(list(replicas())))
    serve.shutdown()
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
