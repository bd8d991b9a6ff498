"""Budget mode: the best quality at a given mean price of a query. No guarantee on the risk of any route.

Each route offers operating points, one a threshold: so much quality for so much money. With one exchange rate between
the two for all routes (a Lagrange multiplier), the best choice in each route lies on the upper hull of its points;
walking from the cheapest points up the steepest hull edges over all routes gives the best mix at every budget that
falls on a corner (Everett 1963). What is left between two corners goes to single steps that still fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

Route = TypeVar("Route")


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """One threshold of one route on the labelled rows."""

    threshold: float | None
    """None: escalate all."""
    quality: float
    """Sum over the rows of the route."""
    cost: float
    """Sum over the rows of the route, any unit."""


def best_for_budget(
    points: Mapping[Route, Sequence[OperatingPoint]], budget: float
) -> dict[Route, OperatingPoint] | None:
    """One point a route, with the most quality found at a total cost of at most `budget`; None: none is so cheap.

    >>> cheap, dear = OperatingPoint(0.0, 50.0, 10.0), OperatingPoint(None, 90.0, 100.0)
    >>> best_for_budget({"legal": [cheap, dear]}, 99.0)["legal"].quality
    50.0
    """
    hulls = {route: upper_hull(offered) for route, offered in points.items()}
    chosen = dict.fromkeys(hulls, 0)
    spent = sum(hull[0].cost for hull in hulls.values())
    if spent > budget:
        return None
    edges = [
        ((after.quality - before.quality) / (after.cost - before.cost), route, index)
        for route, hull in hulls.items()
        for index, (before, after) in enumerate(pairwise(hull), start=1)
    ]
    edges.sort(key=lambda edge: -edge[0])  # stable: a route's edges stay in order, since a hull only gets flatter
    for _, route, index in edges:
        extra = hulls[route][index].cost - hulls[route][index - 1].cost
        if spent + extra > budget:
            break
        chosen[route], spent = index, spent + extra
    return _fill({route: hulls[route][index] for route, index in chosen.items()}, points, budget - spent)


def upper_hull(points: Sequence[OperatingPoint]) -> list[OperatingPoint]:
    """The corners worth paying for: by rising cost, with quality rising ever more slowly."""
    hull: list[OperatingPoint] = []
    for point in sorted(points, key=lambda found: (found.cost, -found.quality)):
        if hull and point.quality <= hull[-1].quality:
            continue
        while len(hull) >= 2 and _below(hull[-2], hull[-1], point):
            hull.pop()
        if hull and hull[-1].cost == point.cost:
            continue
        hull.append(point)
    return hull


def _below(left: OperatingPoint, middle: OperatingPoint, right: OperatingPoint) -> bool:
    """Whether the middle lies on or under the line from left to right."""
    rise = (middle.quality - left.quality) * (right.cost - left.cost)
    return rise <= (right.quality - left.quality) * (middle.cost - left.cost)


def _fill(
    chosen: dict[Route, OperatingPoint], points: Mapping[Route, Sequence[OperatingPoint]], left: float
) -> dict[Route, OperatingPoint]:
    """Spend what is left on the single steps that gain most, while one fits."""
    while True:
        steps = [
            (point.quality - chosen[route].quality, route, point)
            for route, offered in points.items()
            for point in offered
            if point.quality > chosen[route].quality and point.cost - chosen[route].cost <= left
        ]
        if not steps:
            return chosen
        _, route, point = max(steps, key=lambda step: step[0])
        left -= point.cost - chosen[route].cost
        chosen = {**chosen, route: point}
