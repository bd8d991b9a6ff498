"""What Ray Serve is told of deployments and of a whole graph, as plain data.

`deployments.bind` and `headrace deploy-config` both take it from here, so a graph says the same in code and in YAML.
"""

import shlex
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Any

import yaml

from serve_app.config.deployments import DeploymentSettings
from serve_app.config.load import CONFIG_ENV
from serve_app.config.nodes import NodeSettings
from serve_app.config.settings import Settings
from serve_app.core import ConfigError

GRAPHS: Mapping[str, tuple[str, ...]] = {
    "production": ("gateway", "router", "specialists", "fallback", "ledger"),
    "cascade": ("gateway", "specialists", "fallback", "ledger"),
    "router": ("gateway", "router", "specialists", "ledger"),
    "multi_lora": ("gateway", "specialists", "ledger"),
    "ensemble": ("gateway", "specialists", "fallback", "ledger"),
    "rag": ("gateway", "retriever", "specialists", "fallback", "ledger"),
}
"""The nodes of each graph without `rag.enabled`; a deployment's name is its node's with a capital."""
APP_NAME = "headrace"
METRICS_INTERVAL_S = 2.0
"""How often a replica reports. Serve's own 10 s would be most of the time that a burst needs to fill the queues."""
_POLICY = "serve_app.deployments.scaling:HeadracePolicy"


def replica_options(settings: Settings, node: str) -> dict[str, Any]:
    """How many replicas of a node there may be.

    With `scaling.policy: headrace` a fixed number of gateways is told in this way too: only deployments with an
    `autoscaling_config` report, and the fallback is scaled on the gateways' queries.
    """
    resources: DeploymentSettings = getattr(settings.deployments, node)
    headrace = settings.scaling.policy == "headrace"
    per_node = {"max_replicas_per_node": resources.max_per_node} if resources.max_per_node else {}
    if not (resources.scales or (headrace and node == "gateway")):
        return {"num_replicas": resources.min_replicas} | per_node
    bounds = {
        "min_replicas": resources.min_replicas,
        "max_replicas": resources.max_replicas,
        "target_ongoing_requests": resources.target_ongoing_requests,
    }
    return {"num_replicas": "auto", "autoscaling_config": bounds | (undelayed() if headrace else {})} | per_node


def actor_options(settings: Settings, node: str) -> dict[str, Any]:
    """What a replica takes of a machine, of which, and its environment.

    All of it, because what a Serve config says here replaces what the code said.
    """
    resources: DeploymentSettings = getattr(settings.deployments, node)
    labels = {"label_selector": resources.node_labels} if resources.node_labels else {}
    python = _interpreter(settings, node)
    interpreter = {"py_executable": shlex.quote(python)} if python else {}
    environment = {"env_vars": _thread_variables(resources.threads)} | interpreter
    return {"num_cpus": resources.num_cpus, "num_gpus": resources.num_gpus, **labels, "runtime_env": environment}


def _thread_variables(threads: int) -> dict[str, str]:
    """Compute libraries use the replica's threads and no more, and do not spin on cores that others could use."""
    passive = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0", "TOKENIZERS_PARALLELISM": "false"}
    return {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), **passive}


def _interpreter(settings: Settings, node: str) -> str | None:
    """Of a node that is not run by the cluster's own."""
    section = getattr(settings, node, None)
    return section.python if isinstance(section, NodeSettings) else None


def autoscaling_policy(settings: Settings, nodes: Sequence[str]) -> dict[str, Any] | None:
    """The policy of an application with these nodes; None: Serve's own."""
    scaled = [node for node in nodes if node != "ledger" and getattr(settings.deployments, node).scales]
    if settings.scaling.policy == "serve" or not scaled:
        return None
    return {"policy_function": _POLICY, "policy_kwargs": {node: _plan(settings, node) for node in scaled}}


def deploy_config(settings: Settings, graph: str, config: str) -> dict[str, Any]:
    """For `serve deploy`. `config`: how replicas find these settings, a profile's name or a path on every node.

    Raises ConfigError where there is no such graph.
    """
    deployments = [
        {"name": node.capitalize()}
        | replica_options(settings, node)
        | {"ray_actor_options": actor_options(settings, node)}
        for node in nodes_of(graph, settings)
    ]
    policy = autoscaling_policy(settings, nodes_of(graph, settings))
    application = {
        "name": APP_NAME,
        "route_prefix": "/",
        "import_path": import_path(graph),
        "runtime_env": {"env_vars": {CONFIG_ENV: config}},
        **({"autoscaling_policy": policy} if policy else {}),
        "deployments": deployments,
    }
    return {
        "proxy_location": "HeadOnly" if _is_loopback(settings.gateway.host) else "EveryNode",
        "http_options": {"host": settings.gateway.host, "port": settings.gateway.port},
        "applications": [application],
    }


def deploy_yaml(settings: Settings, graph: str, config: str) -> str:
    """The file, with a head that says where it is from. Raises ConfigError where there is no such graph."""
    head = [
        f"Written by: headrace deploy-config --graph {graph} --config {config}",
        "On a Ray that was started with the Serve switches (docs/deploy.md): serve deploy THIS_FILE",
    ]
    if not _is_loopback(settings.gateway.host):
        head.append(f"It listens on {settings.gateway.host}, for a load balancer: let the firewall admit nobody else.")
    body = yaml.safe_dump(
        deploy_config(settings, graph, config), sort_keys=False, default_flow_style=None, width=110, allow_unicode=True
    )
    return "".join(f"# {line}\n" for line in head) + body


def import_path(graph: str) -> str:
    """Where Serve finds the bound graph."""
    return f"graphs.{graph}:app"


def nodes_of(graph: str, settings: Settings) -> tuple[str, ...]:
    """With `rag.enabled` every graph has a retriever. Raises ConfigError where there is no such graph."""
    try:
        nodes = GRAPHS[graph]
    except KeyError:
        raise ConfigError(f"There is no graph {graph!r}; choose {', '.join(GRAPHS)}.") from None
    return (*nodes, "retriever") if settings.rag.enabled and "retriever" not in nodes else nodes


def _plan(settings: Settings, node: str) -> dict[str, Any]:
    """What differs from the defaults; what the gateway does about a cold fallback is none of the controller's."""
    plan: dict[str, Any] = getattr(settings.scaling, node).model_dump(
        exclude_defaults=True, exclude={"while_cold", "patience_s"}
    )
    if node in ("gateway", "router", "retriever"):
        target = getattr(settings.deployments, node).target_ongoing_requests
        plan["requests"] = {"ongoing": target} | plan.get("requests", {})
    return plan


def undelayed() -> dict[str, float]:
    """Serve applies its own delays to what a policy returns: none here. Its reports would come too seldom."""
    return {
        "upscale_delay_s": 0.0,
        "downscale_delay_s": 0.0,
        "downscale_to_zero_delay_s": 0.0,
        "metrics_interval_s": METRICS_INTERVAL_S,
        "look_back_period_s": 5 * METRICS_INTERVAL_S,
    }


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
