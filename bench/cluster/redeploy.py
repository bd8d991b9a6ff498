"""Run as a program: deploys the cascade with scripted engines from a config, as `serve deploy` does, and again as told.

python -m bench.cluster.redeploy SETTINGS_YAML NUM_REPLICAS

Reads a JSON object a line: {"environment": variables of the application, "user_config": the gateway's, or null}, and
answers each, once no replica of the version before is left: {"took_s", "url", "replicas": {deployment: process ids}}.
"""

import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import psutil
import yaml

from bench.machine import REPO
from serve_app.config import CONFIG_ENV, load
from serve_app.deployments.reports import Reporter
from serve_app.deployments.switches import one_machine

WITHIN_S = 180.0
_POLL_S = 0.1
_CPUS = 0.1
"""Of each replica: more of them fit than there are cores, as they do little."""


def main() -> None:
    settings = load(sys.argv[1])
    run_dir = Path(tempfile.mkdtemp(prefix="headrace-", dir="/tmp")) / "r"
    run_dir.mkdir()
    os.environ.pop("RAY_ADDRESS", None)
    os.environ |= one_machine(run_dir) | {CONFIG_ENV: sys.argv[1]}
    from ray import serve
    from ray.serve.config import HTTPOptions

    from serve_app.deployments.stack import Stack

    stack = Stack(settings, run_dir, settings.gateway.port)
    stack.start_ray()
    try:
        http = HTTPOptions(host="127.0.0.1", port=settings.gateway.port)
        serve.start(http_options=http, proxy_location="HeadOnly")
        for line in sys.stdin:
            began_s = time.monotonic()
            deploy(settings.gateway.port, int(sys.argv[2]), **json.loads(line))
            await_replicas()
            done = {"took_s": round(time.monotonic() - began_s, 1), "url": stack.url, "replicas": replicas()}
            print(json.dumps(done), flush=True)
    finally:
        stack.stop(Reporter(as_json=True), keep_logs=False)


def deploy(port: int, num_replicas: int, environment: dict[str, str], user_config: dict[str, Any] | None) -> None:
    """As `serve deploy` with the packaged config, so many replicas of each deployment but the ledger."""
    from ray.serve.context import _get_global_client
    from ray.serve.schema import ServeDeploySchema

    config = yaml.safe_load((REPO / "graphs" / "cascade.yaml").read_text())
    config["http_options"]["port"] = port
    (application,) = config["applications"]
    application["runtime_env"]["env_vars"] |= environment
    for deployment in application["deployments"]:
        deployment["ray_actor_options"]["num_cpus"] = _CPUS
        if deployment["name"] != "Ledger":
            deployment["num_replicas"] = num_replicas
        if deployment["name"] == "Gateway" and user_config is not None:
            deployment["user_config"] = user_config
    _get_global_client().deploy_apps(ServeDeploySchema.model_validate(config))


def await_replicas() -> None:
    """Return when all run and none starts, stops or changes."""
    from ray import serve

    deadline_s = time.monotonic() + WITHIN_S
    while time.monotonic() < deadline_s:
        application = serve.status().applications["headrace"]
        deployments = application.deployments.values()
        settled = (one.status == "HEALTHY" and set(one.replica_states) == {"RUNNING"} for one in deployments)
        if application.status == "RUNNING" and all(settled):
            return
        time.sleep(_POLL_S)
    raise SystemExit(f"the replicas are not replaced within {WITHIN_S:g} s: {serve.status()}")


def replicas() -> dict[str, list[int]]:
    """Process ids by deployment."""
    found = defaultdict(list)
    for process in psutil.Process().children(recursive=True):
        try:
            name = process.cmdline()[0]
        except (psutil.Error, IndexError):  # it has just gone
            continue
        if name.startswith("ray::ServeReplica:headrace:"):
            found[name.split(":")[4].split(".")[0]].append(process.pid)
    return {deployment: sorted(pids) for deployment, pids in found.items()}


if __name__ == "__main__":
    main()
