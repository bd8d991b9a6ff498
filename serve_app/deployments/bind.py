"""Settings in, bound deployments out: what the graphs are made of.

Each function binds one deployment with its resources, scaling bounds and threads; a graph only puts them together.
"""

from typing import Any

from ray import serve
from ray.serve import Application

from serve_app.config import DeploymentSettings, NodeSettings, Settings
from serve_app.deployments.engine import EngineServer
from serve_app.deployments.gateway import GatewayReplica
from serve_app.deployments.ledger import LedgerReplica
from serve_app.deployments.paths import folder_path, journals_path, ledger_url, model_path, with_file_paths
from serve_app.deployments.router import RouterServer
from serve_app.gateway import Tunables

_MAX_START_ATTEMPTS = 3
"""A replica that cannot start seldom can the third time: say so, rather than try Serve's twenty."""


def specialists(settings: Settings) -> Application:
    """The small base with all its adapters, as deployment `Specialists`."""
    sources = {
        name: source.model_copy(update={"path": folder_path(source.path)}) for name, source in settings.adapters.items()
    }
    resources = settings.deployments.specialists
    return _engine("Specialists", resources).bind(
        _anchored(settings.specialists), sources, resources.threads, settings.telemetry, "specialists"
    )


def fallback(settings: Settings) -> Application:
    """The large model, as deployment `Fallback`."""
    resources = settings.deployments.fallback
    return _engine("Fallback", resources).bind(
        _anchored(settings.fallback), {}, resources.threads, settings.telemetry, "fallback"
    )


def router(settings: Settings) -> Application:
    """The domain classifier, as deployment `Router`."""
    resources, router = settings.deployments.router, settings.router
    anchored = {
        "encoder": model_path(router.encoder),
        "artifact": folder_path(router.artifact),
        "gain": router.gain and folder_path(router.gain),
    }
    deployment = serve.deployment(RouterServer, name="Router", **serve_options(resources))
    return deployment.bind(router.model_copy(update=anchored), resources.threads)


def ledger(settings: Settings) -> Application:
    """The one writer, as deployment `Ledger`."""
    anchored = settings.ledger.model_copy(update={"url": ledger_url(settings.ledger.url)})
    deployment = serve.deployment(LedgerReplica, name="Ledger", **serve_options(settings.deployments.ledger))
    return deployment.bind(settings.model_copy(update={"ledger": anchored}), journals_path(settings.ledger))


def gateway(settings: Settings, **nodes: Application) -> Application:
    """The ingress, as deployment `Gateway`. `nodes`: specialists, ledger and, where there are, router and fallback."""
    resources = settings.deployments.gateway
    settings = with_file_paths(settings)
    tunables = Tunables(cascade=settings.cascade, prices=settings.prices, budgets=settings.budgets)
    options = serve_options(resources) | {
        "name": "Gateway",
        "user_config": tunables.model_dump(mode="json"),
        "max_queued_requests": -1,  # it refuses by itself, in OpenAI's shape
    }
    deployment = serve.deployment(serve.ingress()(GatewayReplica), **options)
    return deployment.bind(settings, journals_path(settings.ledger), **nodes)


def serve_options(resources: DeploymentSettings) -> dict[str, Any]:
    """What Serve wants to hear about one deployment's resources and bounds."""
    scaling: dict[str, Any] = {"num_replicas": resources.min_replicas}
    if resources.max_replicas > resources.min_replicas:
        scaling = {
            "num_replicas": "auto",
            "autoscaling_config": {
                "min_replicas": resources.min_replicas,
                "max_replicas": resources.max_replicas,
                "target_ongoing_requests": resources.target_ongoing_requests,
            },
        }
    return scaling | {
        "max_ongoing_requests": resources.max_ongoing_requests,
        "max_queued_requests": resources.max_ongoing_requests,
        "graceful_shutdown_timeout_s": resources.graceful_shutdown_s,
        "graceful_shutdown_wait_loop_s": 0.1,
        "max_constructor_retry_count": _MAX_START_ATTEMPTS,
        "ray_actor_options": {
            "num_cpus": resources.num_cpus,
            "num_gpus": resources.num_gpus,
            "runtime_env": {"env_vars": _thread_variables(resources.threads)},
        },
    }


def _thread_variables(threads: int) -> dict[str, str]:
    """Compute libraries use the replica's threads and no more, and do not spin on cores that others could use."""
    return {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",
        "KMP_BLOCKTIME": "0",
        "TOKENIZERS_PARALLELISM": "false",
    }


def _engine(name: str, resources: DeploymentSettings) -> serve.Deployment:
    return serve.deployment(EngineServer, name=name, **serve_options(resources))


def _anchored(node: NodeSettings) -> NodeSettings:
    return node.model_copy(update={"model": model_path(node.model)})
