"""Run as a program: deploys headrace_scaling_app with our policy, as `serve deploy` does, and asks it for 12 seconds.

Prints one JSON object: the replicas of each deployment over time.
"""

import asyncio
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from serve_app.config import Settings, load
from serve_app.deployments.reports import Reporter
from serve_app.deployments.switches import one_machine

BUSY_S, WITHIN_S = 12.0, 60.0
PACE = {"half_life_s": 4}
NODES = {
    "Specialists": {"engine": {"tokens_per_s": 500, "call_tokens": 100}, "pace": PACE},
    "Fallback": {
        "engine": {"tokens_per_s": 500},
        "fed_by": "escalations",
        "pace": PACE,
        "zero": {"idle_s": 5},
        "warm_up_s": 5,
    },
}


def main() -> None:
    run_dir = Path(tempfile.mkdtemp(prefix="headrace-", dir="/tmp")) / "r"
    run_dir.mkdir()
    os.environ |= one_machine(run_dir) | {"RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "1"}  # asked from no replica
    settings: Settings = load("demo")
    from ray import serve
    from ray.serve.context import _get_global_client
    from ray.serve.schema import ServeDeploySchema

    from serve_app.deployments.stack import Stack

    policy = {"policy_function": "serve_app.deployments.scaling:HeadracePolicy", "policy_kwargs": {"nodes": NODES}}
    app = {"name": "app", "route_prefix": None, "import_path": "headrace_scaling_app:app", "autoscaling_policy": policy}
    stack = Stack(settings, run_dir, settings.gateway.port)
    stack.start_ray()
    try:
        serve.start(proxy_location="Disabled")
        _get_global_client().deploy_apps(ServeDeploySchema.model_validate({"applications": [app]}), _blocking=True)
        print(json.dumps(asyncio.run(watched(serve))))
    finally:
        stack.stop(Reporter(as_json=True), keep_logs=False)


async def watched(serve: Any) -> list[dict[str, int]]:
    """Replicas that run, each time they change: under load, then without, until all is as small as it may be."""
    handle, began_s = serve.get_app_handle("app"), time.monotonic()
    seen: list[dict[str, int]] = []
    asked = []
    while (age_s := time.monotonic() - began_s) < WITHIN_S:
        if age_s < BUSY_S:
            asked.append(handle.remote())
        await asyncio.sleep(1 / 12)
        now = {
            name: status.replica_states.get("RUNNING", 0)
            for name, status in serve.status().applications["app"].deployments.items()
        }
        if seen[-1:] != [now]:
            seen.append(now)
        if age_s > BUSY_S and now == {"Gateway": 1, "Specialists": 1, "Fallback": 0}:
            break
    await asyncio.wait_for(asyncio.gather(*asked), 10)
    return seen


if __name__ == "__main__":
    main()
