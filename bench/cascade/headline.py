"""The figures that are asked for by name, each with a sentence on what it is of."""

from __future__ import annotations

from typing import Any

TESTED = "right_third"

WHAT = {
    "guarantee_kept": "Tested policy (Learn-then-Test; at most 10 % of a route's accepted answers wrong, delta .1; a "
    "third of the rows calibrates): share of draws in which the risk was kept on the other rows, in the route where it "
    "was kept least. Routes that accept nothing count as kept: see guarantee_accepting_routes, profiles.*.guarantee.",
    "guarantee_kept_empirical": "The same rows, models and routes with the threshold that looks good on the labels, in "
    "the route where that rule kept least.",
    "guarantee_kept_empirical_same_route": "That rule in the route of guarantee_kept.",
    "guarantee_accepting_routes": "Routes in which the tested policy accepted anything in any draw.",
    "accepted_share": "Of the tested policy, over all queries and draws; with the range of 95 % of the draws.",
    "guarantee_saved": "What the tested policy saves against always-large at prices by parameters.",
    "saved": "Quality target, another policy, which promises nothing about the risk of a route: the cheapest way that "
    "on the training folds was surely at most quality_target_slack worse than always-large. Prices by parameters.",
    "quality_ours": "Share of right answers of that policy, on queries it was not fitted on.",
    "quality_always_large": "Share of right answers when the large model answers the same queries.",
    "quality_target_slack": "What that policy may lose against always-large, in share of right answers.",
    "quality_over_always_large": "Paired difference to always-large.",
    "exactly_scored": "saved and quality again, fitted and judged without the tasks that are scored by likeness to a "
    "reference (medquad, conala), where a model trained in the style of the references has an edge.",
}


def headline(large: dict[str, Any]) -> dict[str, Any]:
    """Of the profile `large`."""
    kept = large["guarantee"][TESTED]
    ours, usual = kept["learn_then_test"], kept["empirical"]
    same = usual["routes"][ours["worst_route"]]
    return {
        "what": WHAT,
        "guarantee_kept": ours["kept"],
        "guarantee_kept_95": ours["kept_95"],
        "guarantee_kept_route": ours["worst_route"],
        "guarantee_accepting_routes": ours["routes_that_accept_in_some_draw"],
        "guarantee_kept_empirical": usual["kept"],
        "guarantee_kept_empirical_95": usual["kept_95"],
        "guarantee_kept_empirical_route": usual["worst_route"],
        "guarantee_kept_empirical_same_route": same["kept"],
        "guarantee_kept_empirical_same_route_95": same["kept_95"],
        "accepted_share": ours["accepted_share"],
        "accepted_share_95": ours["accepted_share_95_of_draws"],
        "guarantee_saved": ours["saved"],
        "guarantee_saved_95": ours["saved_95_of_draws"],
        **_quality(large["curves"]["by_parameters"]),
        "exactly_scored": _quality(large["curves_exactly_scored"]["by_parameters"]),
    }


def _quality(curve: dict[str, Any]) -> dict[str, Any]:
    target, always = curve["at_target"], curve["always_large"]
    return {
        "saved": target["saved"],
        "saved_95": target["saved_95"],
        "quality_ours": target["quality"],
        "quality_ours_95": target["quality_95"],
        "quality_always_large": always["quality"],
        "quality_always_large_95": always["quality_95"],
        "quality_over_always_large": target["over_always_large"]["mean"],
        "quality_over_always_large_95": target["over_always_large"]["interval_95"],
        "quality_target_slack": target["slack"],
    }
