"""Who takes part in one answer in lock step, and with which weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from serve_app.config import RoutesSettings
from serve_app.core import RouteScore
from serve_app.patterns.answerers import Node
from serve_app.patterns.ensemble.members import Member


class Mixture(Protocol):
    """Chooses members and weights for a query."""

    @property
    def name(self) -> str:
        """For the account."""
        ...

    def members(self, route: RouteScore | None) -> Sequence[Member]:
        """One or more, with the weights of the mean; whether their adapters are there is not looked at."""
        ...


class ConfiguredMembers:
    """Those of the settings (`average`)."""

    name = "average"

    def __init__(self, members: Sequence[Member]) -> None:
        self._members = members

    def members(self, route: RouteScore | None) -> Sequence[Member]:
        """See `Mixture`."""
        return self._members


class ByRoute:
    """The adapters of the routes, weighted by the router's probabilities (`soft_routing`).

    A mixture of experts whose gate is the router, as in Jacobs et al. 1991 (Neural Computation 3(1)), over whole
    adapters as in DExperts' and other decoding-time ensembles.
    """

    name = "soft routing"

    def __init__(self, node: Node, routes: RoutesSettings, least_weight: float) -> None:
        self._node, self._routes, self._least_weight = node, routes, least_weight

    def members(self, route: RouteScore | None) -> Sequence[Member]:
        """See `Mixture`. Where the router failed, the default of the routes on its own."""
        if route is None:
            return (Member(0, self._node, self._routes.adapter_for(None), 1.0),)
        by_adapter: dict[str | None, float] = {}
        for label, probability in route.probabilities.items():
            adapter = self._routes.adapter_for(label)
            by_adapter[adapter] = by_adapter.get(adapter, 0.0) + probability
        kept = kept_weights(by_adapter, self._least_weight) or {self._routes.adapter_for(route.label): 1.0}
        return tuple(Member(place, self._node, *one) for place, one in enumerate(kept.items()))


def kept_weights(weights: Mapping[str | None, float], least: float) -> dict[str | None, float]:
    """Those that are at least `least` of the whole, heaviest first, made to add up to 1; else the heaviest alone.

    >>> kept_weights({"legal": 0.6, None: 0.36, "code": 0.04}, 0.1)
    {'legal': 0.625, None: 0.375}
    """
    positive = sorted(((name, weight) for name, weight in weights.items() if weight > 0), key=lambda one: -one[1])
    whole = sum(weight for _, weight in positive)
    kept = [(name, weight) for name, weight in positive if weight >= least * whole] or positive[:1]
    total = sum(weight for _, weight in kept)
    return {name: weight / total for name, weight in kept}
