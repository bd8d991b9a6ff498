"""A Ray of our own on loopback with one graph on it: start, and a stop that leaves nothing behind.

Import only after `switches.one_machine` is in the environment.
"""

import asyncio
import contextlib
import importlib
import logging
import os
import re
import shutil
import threading
import time
from pathlib import Path

import httpx
import psutil
import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve.config import HTTPOptions
from ray.serve.context import _get_global_client
from ray.serve.exceptions import RayServeException
from ray.serve.schema import ServeDeploySchema

from serve_app.config import Settings
from serve_app.config.serve import APP_NAME, GRAPHS, autoscaling_policy, import_path, nodes_of
from serve_app.core import ConfigError, EngineError, HeadraceError
from serve_app.deployments.reports import Reporter

_OBJECT_STORE_BYTES = 128 * 2**20
"""Only small messages pass through the store: models are loaded inside the replicas."""
_READY_S = 120.0
_POLL_S = 0.25
_LEFTOVERS_S = 5.0


class Stack:
    """Used from the main thread, once."""

    def __init__(self, settings: Settings, run_dir: Path, port: int) -> None:
        self._settings, self._run_dir = settings, run_dir  # alone in a private folder, which goes with it
        self._port = port
        self._deployed = False
        self.url = f"http://{settings.gateway.host}:{port}"

    def start_ray(self) -> None:
        """Take what this machine has, and listen on loopback only. Replaces the caller's signal handlers."""
        logging.getLogger("ray.serve").setLevel(logging.WARNING)
        ray.init(
            address="local",
            _node_ip_address="127.0.0.1",
            _temp_dir=str(self._run_dir),
            num_cpus=max(2, len(os.sched_getaffinity(0))),
            object_store_memory=_OBJECT_STORE_BYTES,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="error",
        )

    @property
    def ray_address(self) -> str:
        """Of this Ray's control service, once it runs."""
        address: str = ray.get_runtime_context().gcs_address
        return address

    def deploy(self, app: serve.Application, graph: str, report: Reporter) -> None:
        """Return when every route answers. `app` is what `graph` binds. Raises HeadraceError saying why it does not."""
        done = threading.Event()
        watcher = threading.Thread(target=_watch, args=(done, report), name="deployments", daemon=True)
        http_options = HTTPOptions(host=self._settings.gateway.host, port=self._port)
        try:
            serve.start(proxy_location="HeadOnly", http_options=http_options)
            watcher.start()
            self._run(app, graph)
            self._deployed = True
        except (RuntimeError, RayError) as error:
            raise _reason(error) from error
        finally:
            done.set()
            if watcher.ident is not None:
                watcher.join()
        self._await_routes()

    def _run(self, app: serve.Application, graph: str) -> None:
        """Serve takes a policy for a whole application only from a config, for which it imports the graph once more."""
        known = graph if graph in GRAPHS else "production"
        policy = autoscaling_policy(self._settings, nodes_of(known, self._settings))
        if policy is None:
            serve.run(app, name=APP_NAME, route_prefix="/")
            return
        application = {"name": APP_NAME, "route_prefix": "/", "import_path": import_path(graph)}
        config = {"applications": [application | {"autoscaling_policy": policy}]}
        client = _get_global_client()
        client.deploy_apps(ServeDeploySchema.model_validate(config))
        client._wait_for_application_running(APP_NAME)

    def _await_routes(self) -> None:
        """Poll /readyz: the replicas run, and now every node has to answer through its handle."""
        deadline_s = time.monotonic() + _READY_S
        said = "it did not answer"
        while time.monotonic() < deadline_s:
            try:
                response = httpx.get(f"{self.url}/readyz", headers=self._admin(), timeout=10)
            except httpx.TransportError:
                time.sleep(_POLL_S)
                continue
            if response.status_code == httpx.codes.OK:
                return
            said = response.text
            time.sleep(_POLL_S)
        raise EngineError(f"The graph is deployed, but {self.url}/readyz was not 200 within {_READY_S:g} s: {said}")

    def _admin(self) -> dict[str, str]:
        """Only an admin is told why a node does not answer."""
        for key in self._settings.gateway.admin_keys.values():
            return {"authorization": f"Bearer {key.get_secret_value()}"}
        return {}

    def stop(self, report: Reporter, keep_logs: bool) -> None:
        """End queries in flight, Serve, Ray and every process they started; remove the folder unless `keep_logs`."""
        children = psutil.Process().children(recursive=True)
        try:
            if ray.is_initialized():
                with (self._run_dir / "stop.log").open("w") as log, contextlib.redirect_stdout(log):
                    asyncio.run(self._stop_serve(report))  # raylets tell the driver of each actor that goes
        finally:
            ray.shutdown()
            _end(children)
            if not keep_logs or not (self._run_dir / "session_latest").exists():
                shutil.rmtree(self._run_dir.parent, ignore_errors=True)

    async def _stop_serve(self, report: Reporter) -> None:
        """Let the gateway hand its accounts over while the ledger runs; say so where it cannot. Then stop all."""
        try:
            if self._deployed:
                async with asyncio.timeout(self._settings.deployments.gateway.graceful_shutdown_s):
                    await serve.get_app_handle(APP_NAME).drain.remote()
        except (RayError, RayServeException, TimeoutError, HeadraceError) as error:
            report.cut_off(type(error).__name__)
        finally:
            await serve.shutdown_async()


def _end(processes: list[psutil.Process]) -> None:
    """Ray's processes go by themselves; one that has not gone in time is killed."""
    _, alive = psutil.wait_procs(processes, timeout=_LEFTOVERS_S)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def application(graph: str) -> serve.Application:
    """Bind the graph, by name: nothing in serve_app may import graphs."""
    name = f"graphs.{graph}"
    try:
        app: serve.Application = importlib.import_module(name).app
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise ConfigError(f"There is no graph {graph!r}; see the folder graphs.") from error
    return app


def _watch(done: threading.Event, report: Reporter) -> None:
    """Report each deployment once, when it is healthy."""
    reported: set[str] = set()
    last = False
    while not last:
        last = done.wait(_POLL_S)
        app = serve.status().applications.get(APP_NAME)
        for name, status in app.deployments.items() if app else ():
            if status.status == "HEALTHY" and name not in reported:
                reported.add(name)
                report.deployment_ready(name)


def _reason(error: Exception) -> HeadraceError:
    """The sentence of the HeadraceError in a replica's traceback; else what Serve says, in short."""
    app = serve.status().applications.get(APP_NAME)
    texts = [status.message for status in app.deployments.values()] if app else []
    for text in (*texts, str(error)):
        if found := re.search(r"^serve_app\.core\.(?:\w+\.)?\w+: (.+)$", text, re.MULTILINE):
            return ConfigError(found.group(1))
    return EngineError(f"The graph could not be deployed: {str(error).strip().splitlines()[-1]}")
