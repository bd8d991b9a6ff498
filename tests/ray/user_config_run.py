"""Run as a program: deploys the scripted cascade from a config, as `serve deploy` does, and changes its `user_config`
while it is asked without a pause. Prints one JSON object.

python user_config_run.py GRAPH_YAML SETTINGS_YAML POLICY_JSON
"""

import json
import os
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

from serve_app.config import CONFIG_ENV, load
from serve_app.deployments.reports import Reporter
from serve_app.deployments.switches import one_machine

WITHIN_S = 60.0


def main() -> None:
    graph, settings_file, policy = (Path(argument) for argument in sys.argv[1:4])
    run_dir = Path(tempfile.mkdtemp(prefix="headrace-", dir="/tmp")) / "r"
    run_dir.mkdir()
    os.environ |= one_machine(run_dir) | {CONFIG_ENV: str(settings_file)}
    settings = load(str(settings_file))
    from ray import serve
    from ray.serve.config import HTTPOptions
    from ray.serve.context import _get_global_client
    from ray.serve.schema import ServeDeploySchema

    from serve_app.deployments.stack import Stack

    stack = Stack(settings, run_dir, settings.gateway.port)
    stack.start_ray()
    try:
        serve.start(http_options=HTTPOptions(host="127.0.0.1", port=settings.gateway.port), proxy_location="HeadOnly")
        client = _get_global_client()

        def deploy(cascade: dict[str, Any]) -> None:
            config = yaml.safe_load(graph.read_text())
            config["http_options"]["port"] = settings.gateway.port
            application = config["applications"][0]
            application["runtime_env"] = {"env_vars": {CONFIG_ENV: str(settings_file)}}
            next(d for d in application["deployments"] if d["name"] == "Gateway")["user_config"] = {"cascade": cascade}
            client.deploy_apps(ServeDeploySchema.model_validate(config), _blocking=True)

        deploy({"threshold": 0.5})
        print(json.dumps(change_while_asked(deploy, stack.url, policy)))
    finally:
        stack.stop(Reporter(as_json=True), keep_logs=False)


def change_while_asked(deploy: Any, url: str, policy: Path) -> dict[str, Any]:
    """Two changes under load: a higher threshold, then a policy."""
    asker = Asker(url)
    asker.start()
    asker.wait_for(lambda said: not said["escalated"])
    before = replicas()
    deploy({"threshold": 0.999})
    asker.wait_for(lambda said: said["escalated"] and "0.999" in said["reason"])
    deploy({"policy": str(policy)})
    asker.wait_for(lambda said: not said["escalated"] and "acceptance" in said["reason"])
    asker.stop()
    return {"asked": asker.asked, "failed": asker.failed, "same_replicas": replicas() == before}


def replicas() -> set[tuple[int, str]]:
    """Processes of the replicas of all deployments, with their names."""
    found = set()
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            _, is_replica, name = " ".join(process.cmdline()).partition("ServeReplica:")
            if is_replica:
                found.add((process.pid, name.strip()))
    return found


class Asker(threading.Thread):
    """Asks one question after the other and keeps what the last answer said of itself."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._http = httpx.Client(base_url=url, timeout=30)
        self._done = threading.Event()
        self.last: dict[str, Any] | None = None
        self.asked, self.failed = 0, []

    def run(self) -> None:
        body = {"model": "auto", "messages": [{"role": "user", "content": "hello there"}]}
        while not self._done.is_set():
            self.asked += 1
            try:
                response = self._http.post("/v1/chat/completions", json=body)
                response.raise_for_status()
                self.last = response.json()["headrace"]
            except httpx.HTTPError as error:
                self.failed.append(str(error))

    def wait_for(self, met: Any) -> None:
        deadline_s = time.monotonic() + WITHIN_S
        while not (self.last and met(self.last)):
            if time.monotonic() > deadline_s:
                raise SystemExit(f"it did not take effect within {WITHIN_S:g} s; last: {self.last}, {self.failed[:3]}")
            time.sleep(0.02)

    def stop(self) -> None:
        self._done.set()
        self.join()


if __name__ == "__main__":
    main()
