"""Run as a program: a Ray cluster on this machine with pretend GPUs, and the graph of the bench deployed on it.

    python -m bench.cluster.program SETTINGS PORT NUM_WORKERS

One head without a GPU and so many workers with one each, all on loopback. Takes one JSON object per line on stdin, and
answers each with one line on stdout, `{"error"}` where it cannot; the first line says that the graph is ready. It ends
with its stdin. `bench.cluster.graph` is the other side.
"""

import json
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, TextIO

import psutil

from serve_app.config import CONFIG_ENV
from serve_app.config.serve import APP_NAME
from serve_app.deployments.switches import one_machine

_NODE = {"num_cpus": 4, "object_store_memory": 80 * 2**20}


class LocalCluster:
    """Used from one thread."""

    def __init__(self, port: int, run_dir: Path) -> None:
        import ray
        from ray import serve
        from ray.cluster_utils import Cluster

        head = _NODE | {"num_gpus": 0, "temp_dir": str(run_dir), "include_dashboard": False}
        self._cluster = Cluster(initialize_head=True, head_node_args=head, shutdown_at_exit=False)
        ray.init(address=self._cluster.address, log_to_driver=False, logging_level="error")
        serve.start(proxy_location="HeadOnly", http_options={"host": "127.0.0.1", "port": port})

    def add_nodes(self, count: int) -> dict[str, Any]:
        """So many workers more, each with one pretend GPU."""
        started_s = time.monotonic()
        for _ in range(count):
            self._cluster.add_node(wait=False, num_gpus=1, **_NODE)
        self._cluster.wait_for_nodes(60)
        return {"seconds": round(time.monotonic() - started_s, 1)}

    def deploy(self, app: dict[str, Any]) -> dict[str, Any]:
        """As `serve deploy` does, with one application of a Serve config; returns at once."""
        from ray.serve.context import _get_global_client
        from ray.serve.schema import ServeDeploySchema

        _get_global_client().deploy_apps(ServeDeploySchema.model_validate({"applications": [app]}), _blocking=False)
        return {}

    def status(self) -> dict[str, Any]:
        """Of each deployment: its state, and how many replicas are in which state."""
        from ray import serve

        app = serve.status().applications.get(APP_NAME)
        deployments = app.deployments.items() if app else ()
        return {
            "app": app.status if app else "NOT_STARTED",
            "message": app.message if app else "",
            "running": {name: found.replica_states.get("RUNNING", 0) for name, found in deployments},
            "kept": {  # starting ones too: one that is being replaced is as many as before
                name: sum(count for state, count in found.replica_states.items() if state != "STOPPING")
                for name, found in deployments
            },
            "healthy": {name: found.status == "HEALTHY" for name, found in deployments},
        }

    def replicas(self) -> dict[str, Any]:
        """Where each replica lies, and what Ray says is taken of each node's GPU."""
        import ray
        from ray._private.state import actors, available_resources_per_node

        replicas = []
        for actor in actors(actor_state_name="ALIVE").values():
            _, _, name = actor["ActorClassName"].partition(f"ServeReplica:{APP_NAME}:")
            if name:
                replicas.append({"deployment": name, "node": actor["Address"]["NodeID"], "pid": actor["Pid"]})
        free = available_resources_per_node()
        nodes = {
            node["NodeID"]: round(node["Resources"].get("GPU", 0) - free.get(node["NodeID"], {}).get("GPU", 0), 4)
            for node in ray.nodes()
            if node["Alive"]
        }
        return {"replicas": replicas, "gpus": nodes, "head": self._cluster.head_node.node_id}

    def kill(self, pid: int) -> dict[str, Any]:
        """`kill -9` a replica."""
        os.kill(pid, signal.SIGKILL)
        return {}

    def kill_node(self, node: str) -> dict[str, Any]:
        """`kill -9` every process of a worker node at once."""
        lost = next(one for one in self._cluster.worker_nodes if one.node_id == node)
        roots = [psutil.Process(info.process.pid) for infos in lost.all_processes.values() for info in infos]
        doomed = [process for root in roots for process in (root, *root.children(recursive=True))]
        for process in doomed:
            process.kill()
        self._cluster.remove_node(lost, allow_graceful=False)
        _, alive = psutil.wait_procs(doomed, timeout=5)
        return {"num_processes": len(doomed), "num_alive": len(alive)}

    def stop(self) -> None:
        """Serve, Ray, and every process that they started."""
        import ray
        from ray import serve

        children = psutil.Process().children(recursive=True)
        try:
            serve.shutdown()
            ray.shutdown()
        finally:
            for process in children:
                if process.is_running():
                    process.kill()
            psutil.wait_procs(children, timeout=5)


def obey(cluster: LocalCluster, answers: TextIO) -> None:
    """Until stdin ends."""
    for line in sys.stdin:
        command = json.loads(line)
        name = command.pop("do")
        try:
            answer = getattr(cluster, name)(**command)
        except Exception as error:  # told to the other side, which raises it
            answer = {"error": f"{name}: {type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


def main(settings: str, port: int, num_workers: int) -> None:
    """Start, say so, obey, stop."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # Ray prints
    run_dir = Path(tempfile.mkdtemp(prefix="headrace-", dir="/tmp")) / "r"  # short: Unix sockets lie in it
    run_dir.mkdir()
    os.environ.pop("RAY_ADDRESS", None)
    os.environ |= one_machine(run_dir) | {CONFIG_ENV: settings}
    from ray._private.authentication.authentication_token_setup import ensure_token_if_auth_enabled

    ensure_token_if_auth_enabled(create_token_if_missing=True)
    cluster = LocalCluster(port, run_dir)
    try:
        cluster.add_nodes(num_workers)
        print(json.dumps({"ready": True}), file=answers, flush=True)
        obey(cluster, answers)
    finally:
        cluster.stop()
        shutil.rmtree(run_dir.parent, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
