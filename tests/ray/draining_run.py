"""Run as a program, `python draining_run.py FOLDER`: a ledger on the head node and gateways that die on others.

Each pretend node has a disk of its own, FOLDER/NAME, which its raylet's environment names. The gateways here write
journals and adopt none. Prints one JSON object: what the ledger has at each stage, and where drainers are.
"""

import contextlib
import json
import os
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from serve_app.config import Settings, load
from serve_app.core import Opening
from serve_app.deployments.paths import folder_here, journals_path
from serve_app.deployments.switches import every_node
from serve_app.ledger.journal import Journal

FOLDER = Path(sys.argv[1])
DATABASE = FOLDER / "ledger.sqlite3"
WITHIN_S = 60.0


def settings() -> Settings:
    profile = load("demo")
    journal = profile.ledger.journal.model_copy(update={"folder": "$HEADRACE_DISK/journals"})
    ledger = profile.ledger.model_copy(update={"url": f"sqlite:///{DATABASE}", "journal": journal})
    return profile.model_copy(update={"ledger": ledger})


class PretendGateway:
    """Writes down that a query begins, on the disk of its node, and never that it ends."""

    def __init__(self, query_id: str, ledger: Any) -> None:
        root = folder_here(journals_path(settings().ledger))
        self._journal = Journal.open(root, query_id, segment_mb=1)
        self._journal.begin(Opening(query_id, time.time(), "auto", gateway=query_id))


def until(true: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + WITHIN_S
    while not true():
        if time.monotonic() > deadline_s:
            raise TimeoutError("it did not come about")
        time.sleep(0.2)


def processes(title: str) -> list[psutil.Process]:
    """Of this cluster, by what Ray calls them."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if title in " ".join(process.cmdline()):
                found.append(process)
    return found


def drainers() -> list[psutil.Process]:
    return processes("ray::Drainer")


def disks() -> list[str]:
    """Of the nodes that drainers are on, a name for each drainer."""
    found = []
    for drainer in drainers():
        with contextlib.suppress(psutil.NoSuchProcess):
            found.append(Path(drainer.environ().get("HEADRACE_DISK", "none")).name)
    return found


def main() -> None:
    os.environ |= every_node() | {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    import ray
    from ray import serve
    from ray.cluster_utils import Cluster

    from serve_app.deployments.bind import ledger

    def node(name: str) -> dict[str, Any]:
        return {"num_cpus": 2, "env_vars": {"HEADRACE_DISK": str(FOLDER / name)}}

    def deploy(query_id: str, on: str) -> None:
        """A gateway on the node that has this resource, and none elsewhere any more."""
        options = {"num_cpus": 0.1, "resources": {on: 1}}
        gateway = serve.deployment(PretendGateway, name="Gateway", ray_actor_options=options)
        serve.run(gateway.bind(query_id, ledger(settings())), name="headrace", route_prefix=None)

    def outcome(query_id: str) -> str | None:
        with contextlib.closing(sqlite3.connect(DATABASE)) as database:
            row = database.execute("select outcome from queries where query_id = ?", [query_id]).fetchone()
        return row and str(row[0])

    told: dict[str, Any] = {}
    cluster = Cluster(initialize_head=True, head_node_args={"include_dashboard": False, **node("head")})
    cluster.add_node(resources={"b": 1}, **node("b"))
    cluster.add_node(num_cpus=1)  # without the variable that says where its journals are
    ray.init(address=cluster.address, log_to_driver=False)
    serve.start(proxy_location="Disabled")
    try:
        deploy("q1", on="b")
        until(lambda: not drainers())
        time.sleep(6)  # longer than it is between two looks at the cluster
        told["beside a gateway"] = {"q1": outcome("q1"), "drainers": len(drainers())}

        c = cluster.add_node(resources={"c": 1}, **node("c"))
        deploy("q2", on="c")
        until(lambda: outcome("q1") is not None and not drainers())
        told["b lost its gateway"] = {"q1": outcome("q1"), "q2": outcome("q2"), "drainers": len(drainers())}

        cluster.add_node(resources={"d": 1}, **node("d"))
        cluster.remove_node(c, allow_graceful=False)
        deploy("q3", on="d")
        told["c is lost"] = {"q2": outcome("q2")}
        cluster.add_node(**node("c"))
        until(lambda: outcome("q2") is not None and not drainers())
        told["c came back"] = {"q2": outcome("q2"), "q3": outcome("q3"), "drainers": len(drainers())}

        held = Journal.open(FOLDER / "e" / "journals", "alive", segment_mb=1)
        cluster.add_node(**node("e"))
        until(lambda: disks() == ["e"])
        first = drainers()[0].pid
        told["rss_mb"] = drainers()[0].memory_info().rss // 2**20
        processes("ServeReplica:headrace:Ledger")[0].kill()
        until(lambda: first not in (pids := [one.pid for one in drainers()]) and len(pids) > 0)
        until(lambda: disks() == ["e"])  # a new ledger looks at every node: where nothing is left, drainers go again
        told["the ledger was killed"] = {"drainers": "of e alone"}
        serve.delete("headrace")
        until(lambda: not drainers())
        told["the graph was deleted"] = {"drainers": len(drainers())}
        held.close()
    finally:
        serve.shutdown()
        ray.shutdown()
        cluster.shutdown()
    print(json.dumps(told))


if __name__ == "__main__":
    main()
