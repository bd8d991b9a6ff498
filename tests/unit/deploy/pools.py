"""Pools of equal nodes, and whether replicas fit into them: what Ray's scheduler would say, without a Ray."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from serve_app.config import DeploymentSettings


@dataclass(frozen=True)
class Pool:
    """Nodes of one kind. `resources`: what one node may give away, `CPU` and `GPU`."""

    name: str
    resources: Mapping[str, float]
    labels: Mapping[str, str]
    min_nodes: int
    max_nodes: int


def can_hold(pool: Pool, deployment: DeploymentSettings) -> bool:
    """Whether an empty node holds one replica.

    >>> can_hold(Pool("a", {"CPU": 2}, {"pool": "a"}, 1, 1), DeploymentSettings(num_cpus=2, node_labels={"pool": "!b"}))
    True
    """
    fits = all(pool.resources.get(name, 0) >= amount for name, amount in _amounts(deployment).items())
    return fits and all(_allows(rule, pool.labels.get(key)) for key, rule in deployment.node_labels.items())


def fit_together(pool: Pool, num_nodes: int, wanted: Iterable[tuple[DeploymentSettings, int]]) -> bool:
    """Whether so many nodes hold all these replicas, placed first-fit, the largest first."""
    nodes = [dict(pool.resources) for _ in range(num_nodes)]
    for deployment, num_replicas in sorted(wanted, key=lambda entry: (-entry[0].num_gpus, -entry[0].num_cpus)):
        taken = [0] * num_nodes
        for _ in range(num_replicas):
            amounts = _amounts(deployment)
            free = (
                index
                for index, node in enumerate(nodes)
                if taken[index] < (deployment.max_per_node or num_replicas)
                and all(node.get(name, 0) >= amount for name, amount in amounts.items())
            )
            index = next(free, None)
            if index is None:
                return False
            taken[index] += 1
            for name, amount in amounts.items():
                nodes[index][name] -= amount
    return True


def _amounts(deployment: DeploymentSettings) -> dict[str, float]:
    wanted = {"CPU": deployment.num_cpus, "GPU": deployment.num_gpus}
    return {name: amount for name, amount in wanted.items() if amount}


def _allows(rule: str, value: str | None) -> bool:
    """Ray's rule for one label: `!` turns it around, and a node without the label has no value at all."""
    names = re.findall(r"[\w.-]+", rule.lstrip("!").removeprefix("in("))
    return (value in names) != rule.startswith("!")
