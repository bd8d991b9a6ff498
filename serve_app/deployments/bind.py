"""Settings in, bound deployments out: what the graphs are made of.

Each function binds one deployment with its resources, scaling bounds and threads; a graph only puts them together.
"""

from typing import Any

from ray import serve
from ray.serve import Application

from serve_app.config import DeploymentSettings, NodeSettings, Settings
from serve_app.config.serve import actor_options, replica_options
from serve_app.core import ConfigError
from serve_app.deployments.affinity import router_config
from serve_app.deployments.engine import EngineServer
from serve_app.deployments.following import Following
from serve_app.deployments.gateway import GatewayReplica
from serve_app.deployments.ingest import StorePlace
from serve_app.deployments.ledger import LedgerReplica
from serve_app.deployments.paths import (
    database_name,
    folder_path,
    journals_path,
    ledger_url,
    model_path,
    place_path,
    with_artefacts,
    with_file_paths,
)
from serve_app.deployments.retriever import RetrieverServer
from serve_app.deployments.router import RouterServer
from serve_app.gateway import Tunables

_MAX_START_ATTEMPTS = 3
"""A replica that cannot start seldom can the third time: say so, rather than try Serve's twenty."""


def specialists(settings: Settings, ledger: Application) -> Application:
    """The small base with all its adapters, as deployment `Specialists`. It follows the registry of the ledger."""
    settings = with_artefacts(settings)
    threads = settings.deployments.specialists.threads
    following = Following(settings.registry, database_name(ledger_url(settings.ledger.url)))
    deployment = _engine(settings, "specialists").options(request_router_config=router_config(settings))
    return deployment.bind(
        _anchored(settings.specialists),
        settings.adapters,
        threads,
        settings.telemetry,
        "specialists",
        ledger=ledger,
        following=following,
    )


def fallback(settings: Settings) -> Application:
    """The large model, as deployment `Fallback`."""
    threads = settings.deployments.fallback.threads
    return _engine(settings, "fallback").bind(_anchored(settings.fallback), {}, threads, settings.telemetry, "fallback")


def router(settings: Settings, ledger: Application) -> Application:
    """The domain classifier, as deployment `Router`. It follows the routing of the ledger."""
    router, threads = settings.router, settings.deployments.router.threads
    anchored = {
        "encoder": model_path(router.encoder),
        "artifact": folder_path(router.artifact),
        "gain": router.gain and folder_path(router.gain),
    }
    deployment = serve.deployment(RouterServer, name="Router", **serve_options(settings, "router"))
    return deployment.bind(
        router.model_copy(update=anchored), threads, ledger=ledger, follow_s=settings.registry.follow_s
    )


def retriever(settings: Settings, always: bool = False) -> Application | None:
    """Search in documents, as deployment `Retriever`; None: the settings have it off, and not `always`."""
    if not (settings.rag.enabled or always):
        return None
    rag, resources = settings.rag, settings.deployments.retriever
    place = StorePlace(
        rag.model_copy(update={"encoder": model_path(rag.encoder)}),
        place_path(rag.store),
        model_path(settings.specialists.model),
        resources.threads,
        resources.node_labels,
    )
    deployment = serve.deployment(RetrieverServer, name="Retriever", **serve_options(settings, "retriever"))
    return deployment.bind(place)


def with_members(settings: Settings) -> Settings:
    """The same, for a graph that is nothing without an ensemble. Raises ConfigError where there is none."""
    if not settings.ensemble.enabled:
        raise ConfigError(
            "ensemble.members is empty, and the graph `ensemble` has nobody to ask: name members, or serve "
            "another graph."
        )
    return settings


def ledger(settings: Settings) -> Application:
    """The one writer, as deployment `Ledger`."""
    settings = with_artefacts(settings)
    anchored = settings.ledger.model_copy(update={"url": ledger_url(settings.ledger.url)})
    deployment = serve.deployment(LedgerReplica, name="Ledger", **serve_options(settings, "ledger"))
    return deployment.bind(settings.model_copy(update={"ledger": anchored}), journals_path(settings.ledger))


def gateway(settings: Settings, **nodes: Application | None) -> Application:
    """The ingress, as deployment `Gateway`. `nodes`: specialists, ledger and, where there are, the others."""
    settings = with_artefacts(with_file_paths(settings))
    tunables = Tunables(cascade=settings.cascade, prices=settings.prices, budgets=settings.budgets)
    options = serve_options(settings, "gateway") | {
        "name": "Gateway",
        "user_config": tunables.model_dump(mode="json"),
        "max_queued_requests": -1,  # it refuses by itself, in OpenAI's shape
    }
    deployment = serve.deployment(serve.ingress()(GatewayReplica), **options)
    there = {name: node for name, node in nodes.items() if node is not None}
    return deployment.bind(settings, journals_path(settings.ledger), **there)


def serve_options(settings: Settings, node: str) -> dict[str, Any]:
    """What Serve wants to hear about one deployment's resources and bounds."""
    resources: DeploymentSettings = getattr(settings.deployments, node)
    return replica_options(settings, node) | {
        "max_ongoing_requests": resources.max_ongoing_requests,
        "max_queued_requests": resources.max_ongoing_requests,
        "graceful_shutdown_timeout_s": resources.graceful_shutdown_s,
        "graceful_shutdown_wait_loop_s": 0.1,
        "max_surge_percent": resources.surge_percent,
        "max_constructor_retry_count": _MAX_START_ATTEMPTS,
        "ray_actor_options": actor_options(settings, node),
        "logging_config": {"enable_access_log": node == "gateway"},
    }


def _engine(settings: Settings, node: str) -> serve.Deployment:
    return serve.deployment(EngineServer, name=node.capitalize(), **serve_options(settings, node))


def _anchored(node: NodeSettings) -> NodeSettings:
    return node.model_copy(update={"model": model_path(node.model)})
