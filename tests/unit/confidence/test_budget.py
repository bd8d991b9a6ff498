"""Budget mode: within the budget, on the hull, and as good as trying everything up to one step."""

import doctest
from itertools import pairwise, product

from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.confidence import budget
from serve_app.confidence.budget import OperatingPoint, best_for_budget, upper_hull

POINTS = st.lists(st.builds(OperatingPoint, st.none(), st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=6)
ROUTES = st.lists(POINTS, min_size=1, max_size=3).map(lambda found: dict(enumerate(found)))


def best_of_all(points, money):
    """By trying every combination; None where none is cheap enough."""
    totals = [
        sum(point.quality for point in mix)
        for mix in product(*points.values())
        if sum(point.cost for point in mix) <= money
    ]
    return max(totals, default=None)


@settings(deadline=None)
@given(ROUTES, st.integers(0, 120))
def test_it_is_affordable_and_loses_less_than_one_step_of_the_hull(points, money):
    chosen, best = best_for_budget(points, money), best_of_all(points, money)
    if best is None:
        assert chosen is None
        return
    assert sum(point.cost for point in chosen.values()) <= money
    hulls = [upper_hull(offered) for offered in points.values()]
    steps = [after.quality - before.quality for hull in hulls for before, after in pairwise(hull)]
    assert best - sum(point.quality for point in chosen.values()) <= max(steps, default=0)


@settings(deadline=None)
@given(POINTS)
def test_the_hull_holds_the_cheapest_and_the_best_and_gets_flatter(points):
    hull = upper_hull(points)
    assert hull[0].cost == min(point.cost for point in points)
    assert hull[-1].quality == max(point.quality for point in points)
    slopes = [(b.quality - a.quality) / (b.cost - a.cost) for a, b in pairwise(hull)]
    assert all(slope > 0 for slope in slopes)
    assert slopes == sorted(slopes, reverse=True)


@settings(deadline=None)
@given(POINTS)
def test_at_the_cost_of_a_corner_no_point_of_one_route_is_better(points):
    for corner in upper_hull(points):
        assert best_for_budget({"legal": points}, corner.cost)["legal"].quality == best_of_all({0: points}, corner.cost)


def test_money_goes_where_it_buys_most():
    legal = [OperatingPoint(0.0, 10, 0), OperatingPoint(None, 11, 10)]
    code = [OperatingPoint(0.0, 10, 0), OperatingPoint(None, 18, 10)]
    chosen = best_for_budget({"legal": legal, "code": code}, 12)
    assert (chosen["legal"].threshold, chosen["code"].threshold) == (0.0, None)


def test_a_budget_below_the_cheapest_is_none():
    assert best_for_budget({"legal": [OperatingPoint(None, 1, 5)]}, 4.9) is None


def test_worked_values_hold():
    assert doctest.testmod(budget).failed == 0
