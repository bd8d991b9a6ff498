"""The cascade: whether stated risks are kept, and what quality costs."""

from typing import Any

EXPERIMENTS = ("right", "stated")
SELDOM = 0.05
"""Routes that accept in fewer draws than this are left to the JSON."""


def cascade(found: dict[str, Any]) -> str:
    """Whether stated risks are kept, and what quality costs, on recorded outcomes of the shipped models."""
    large = found["profiles"]["large"]
    shares = ", ".join(
        f"{name} {figures['mix']['share_where_large_is_10_points_better']:.0%}"
        for name, figures in found["profiles"].items()
    )
    ceilings = ", ".join(f"{name} {1 - curve['ratio_s']:.0%}" for name, curve in _by_parameters(found).items())
    num_queries, slack = sum(large["outcomes"]["tasks"].values()), found["quality_target_slack"]
    return (
        f"**Cascade**, on recorded answers of the shipped models to public tasks ({num_queries} queries; "
        "[routing](routing.md)). Two kinds of policy,\nwith different promises.\n\n"
        f"{_guarantees(large['guarantee'])}\n\n"
        f"*A quality target*: the cheapest way that on other queries was surely (90 %) at most {100 * slack:.0f} "
        "points worse than always-large. It promises nothing\nabout the risk of a route. `medquad` and `conala` are "
        "scored by likeness to a reference, in whose style the small model was trained,\nso the second part leaves "
        "them out. "
        f"The large model is 10 points better on this share of the mix: {shares}.\n\n"
        "| profile, prices | way | right answers, 95 % interval | saved, 95 % interval |\n|---|---|---|---|\n"
        f"{_ways(found['profiles'])}\n\n"
        f"A cascade that never escalates would save: {ceilings}. Profile `large` is 135M / 1.5B, `demo` 135M / 0.5B."
        f"{_not_ahead(_by_parameters(found), 'all tasks')}"
        f"{_not_ahead(_by_parameters(found, 'curves_exactly_scored'), 'exactly scored tasks')}\n\n"
        f"{_first_token(found['first_token'])}"
    )


def _guarantees(experiments: dict[str, Any]) -> str:
    """Route by route, both rules; where thirds and halves calibrated, both."""
    rows: dict[str, str] = {}
    for name in EXPERIMENTS:
        third, half = experiments[f"{name}_third"], experiments.get(f"{name}_half")
        routes = third["learn_then_test"]["routes"]
        for route, row in routes.items():
            if row["draws_that_accept"] < SELDOM:
                continue
            cells = []
            for rule in ("learn_then_test", "empirical"):
                one = third[rule]["routes"][route]
                kept = f"{one['kept']:.1%}" + (f" / {half[rule]['routes'][route]['kept']:.1%}" if half else "")
                cells.append(f"{one['draws_that_accept']:.1%} | {one['accepted_share']:.1%} | {kept}")
            stated = f"{route}, {row['alpha']:.0%} wrong"
            rows[stated] = f"| {stated} | " + " | ".join(cells) + " |"
    tested, usual = experiments["right_third"]["learn_then_test"], experiments["right_third"]["empirical"]
    num_refused = len(tested["routes"]) - len(tested["routes_that_accept_in_some_draw"])
    return (
        "*A stated risk*, kept with 90 % confidence: the share of 200 draws in which it was kept on the rows that did "
        "not calibrate, by Headrace\nand by the threshold that looks good on the same labels; a third / half of the "
        "rows calibrated. A route that accepts nothing counts as kept,\nso the draws that accept stand beside it. At "
        f"10 % wrong {num_refused} of {len(tested['routes'])} routes are refused in every draw: such small models are "
        "wrong too often there, and only the rest is tested.\n"
        f"With these refusals the policy accepts {tested['accepted_share']:.0%} of all queries and saves "
        f"{tested['saved']:.1%} (by parameters); the other rule, which does not keep the risk, {usual['saved']:.1%}. "
        "Risks by route are illustrations.\n\n"
        "| at most | Headrace: draws that accept | accepted | kept | looks good: draws that accept | accepted "
        "| kept |\n"
        "|---|---|---|---|---|---|---|\n" + "\n".join(rows.values())
    )


def _ways(profiles: dict[str, Any]) -> str:
    names = {
        "always_small": "always small",
        "always_large": "always large",
        "mean_probability_0.9": "mean probability 0.9",
        "at_target": "**cheapest within the slack**",
    }
    shown = [
        ("large", "curves", "by_parameters", tuple(names)),
        ("large", "curves", "by_time", ("at_target",)),
        ("large", "curves_exactly_scored", "by_parameters", ("always_small", "always_large", "at_target")),
        ("large", "curves_exactly_scored", "by_time", ("at_target",)),
        ("demo", "curves", "by_parameters", ("always_small", "always_large", "at_target")),
    ]
    rows = []
    for profile, mix, prices, ways in shown:
        suffix = ", exactly scored tasks" if mix == "curves_exactly_scored" else ""
        where = f"{profile}, {prices.replace('_', ' ')}{suffix}"
        rows += [_way(where, names[way], profiles[profile][mix][prices][way]) for way in ways]
    rows += [
        _way("large, by parameters", f"Headrace at {float(budget):.0%} of the price", row)
        for budget, row in profiles["large"]["curves"]["by_parameters"]["ours"].items()
        if budget in ("0.3", "0.4", "0.5")
    ]
    return "\n".join(rows)


def _by_parameters(found: dict[str, Any], mix: str = "curves") -> dict[str, Any]:
    """Profile -> its curves at prices by parameters."""
    return {name: figures[mix]["by_parameters"] for name, figures in found["profiles"].items()}


def _not_ahead(curves: dict[str, Any], mix: str) -> str:
    """Difference to always-large, and the budgets whose paired interval does not clear the mean-probability rule."""
    gaps = {name: curve["at_target"]["over_always_large"] for name, curve in curves.items()}
    points = ", ".join(
        f"{name} {100 * gap['mean']:+.1f} ({100 * gap['interval_95'][0]:+.1f} to {100 * gap['interval_95'][1]:+.1f})"
        for name, gap in gaps.items()
    )
    found = {name: curve["not_surely_ahead_of_mean_probability_at"] for name, curve in curves.items()}
    listed = "; ".join(f"{name} {', '.join(budgets) or 'none'}" for name, budgets in found.items())
    return (
        f"\nOver {mix} the cheapest way is this many points above always-large (paired 95 %): {points}.\nAt the same "
        "cost Headrace is ahead of the best mean-probability threshold, interval clear of 0, at all budgets (parts of "
        f"always-large) but: {listed}."
    )


def _first_token(found: dict[str, Any]) -> str:
    titles = {
        "accepted": ("accepted", "added_where_accepted_ms"),
        "escalated": ("escalated after a draft", "added_where_escalated_after_a_draft_ms"),
        "undrafted": ("of a refused route, never drafted", "added_where_never_drafted_ms"),
    }
    parts = [
        f"{found[name]} {title}: {found[key]['median']:.0f} ms (p90 {found[key]['p90']:.0f})"
        for name, (title, key) in titles.items()
        if found[key]
    ]
    return (
        f"Added to the time to the first text, demo pair, one query at a time ({found['queries']} queries), to that of "
        f"the model that answers:\n{'; '.join(parts)}."
    )


def _way(profile: str, title: str, row: dict[str, Any]) -> str:
    quality, saved = row["quality_95"], row["saved_95"]
    return (
        f"| {profile} | {title} | {row['quality']:.1%}, {quality[0]:.1%} to {quality[1]:.1%} "
        f"| {row['saved']:.1%}, {saved[0]:.1%} to {saved[1]:.1%} |"
    )
