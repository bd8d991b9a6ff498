"""The cascade: savings, quality, and the risk that is kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.report.target import (
    At,
    Beside,
    Section,
    Target,
    Unit,
    Worked,
    at,
    at_least,
    exactly,
    worked,
)

_LARGE = ("profiles", "large")
_OFFLINE = "On recorded answers of the shipped models to public tasks, large profile (135M / 1.5B); each policy is "
_JUDGED = f"{_OFFLINE}judged on queries that had no part in fitting it."


def _curve(prices: str, *path: str, mix: str = "curves") -> At:
    return at(*_LARGE, mix, prices, *path)


def _saved(name: str, says: str, prices: str) -> Target:
    return Target(
        name,
        says,
        "cascade",
        _curve(prices, "at_target", "saved"),
        at_least(0.6),
        Unit.SHARE,
        interval=_curve(prices, "at_target", "saved_95"),
        beside=(
            Beside(
                "exactly scored tasks only",
                _curve(prices, "at_target", "saved", mix="curves_exactly_scored"),
                Unit.SHARE,
            ),
            Beside("mean probability .9", _curve(prices, "mean_probability_0.9", "saved"), Unit.SHARE),
            Beside("always small, the ceiling", _curve(prices, "always_small", "saved"), Unit.SHARE),
        ),
        how=_JUDGED,
        main=True,
    )


def _at_random(mix: str) -> Worked:
    """What sending as many queries to the large model by lot would give."""

    def by_lot(small: float, large: float, escalated: float) -> float:
        return small + escalated * (large - small)

    ends = (_curve("by_parameters", way, "quality", mix=mix) for way in ("always_small", "always_large"))
    return worked(
        "random at equal escalation", by_lot, *ends, _curve("by_parameters", "at_target", "escalated", mix=mix)
    )


def _oracle(mix: str) -> Worked:
    """What knowing which answers are right would give for the same price."""

    def at_price(curve: Sequence[tuple[float, float]], cost: float) -> float:
        costs, qualities = np.array(curve).T
        return float(np.interp(cost, costs, qualities))

    where = (_curve("by_parameters", "oracle", mix=mix), _curve("by_parameters", "at_target", "cost", mix=mix))
    return worked("oracle at equal price", at_price, *where)


def _quality(name: str, says: str, mix: str, main: bool) -> Target:
    return Target(
        name,
        says,
        "cascade",
        _curve("by_parameters", "at_target", "over_always_large", "mean", mix=mix),
        at_least(-0.02),
        Unit.POINTS,
        interval=_curve("by_parameters", "at_target", "over_always_large", "interval_95", mix=mix),
        beside=(
            *(
                Beside(title, _curve("by_parameters", way, "quality", mix=mix), Unit.SHARE)
                for title, way in {
                    "Headrace, right": "at_target",
                    "always large": "always_large",
                    "always small": "always_small",
                    "mean probability .9": "mean_probability_0.9",
                }.items()
            ),
            Beside("random, as many escalated", _at_random(mix), Unit.SHARE),
            Beside("oracle at this price", _oracle(mix), Unit.SHARE),
        ),
        how="Above always-large, paired; the stated slack is two points.",
        main=main,
    )


def _behind(name: str, says: str, mix: str) -> Target:
    where = _curve("by_parameters", "not_surely_ahead_of_mean_probability_at", mix=mix)
    return Target(
        name,
        says,
        "cascade",
        worked(f"how many of {where.says}", len, where),
        exactly(0),
        Unit.COUNT,
        beside=(
            Beside("budgets tried", worked("budgets", len, _curve("by_parameters", "ahead", mix=mix)), Unit.COUNT),
        ),
        how="Budgets at which the paired interval over the mean-probability rule is not clear of 0.",
    )


CASCADE = Section(
    "Cascade",
    (
        _saved("saved-parameters", "60 to 80 % cheaper than always-large, prices by parameters", "by_parameters"),
        _saved("saved-time", "60 to 80 % cheaper than always-large, prices by measured time", "by_time"),
        _quality("quality", "at no loss of quality beyond the stated target of two points", "curves", True),
        _quality("quality-exact", "the same over exactly scored tasks alone", "curves_exactly_scored", False),
        Target(
            "risk-kept",
            "the stated risk kept in at least 90 % of 200 resampled calibrations at delta .1",
            "cascade",
            at("guarantee_kept"),
            at_least(0.9),
            Unit.SHARE,
            interval=at("guarantee_kept_95"),
            beside=(
                Beside("threshold that looks good, same route", at("guarantee_kept_empirical_same_route"), Unit.SHARE),
                Beside("threshold that looks good, worst route", at("guarantee_kept_empirical"), Unit.SHARE),
                Beside(
                    "where half the rows calibrate",
                    at(*_LARGE, "guarantee", "right_half", "learn_then_test", "kept"),
                    Unit.SHARE,
                ),
                Beside("accepted", at("accepted_share"), Unit.SHARE),
                Beside("saved with it", at("guarantee_saved"), Unit.SHARE),
            ),
            how="At most 10 % wrong, worst route. Most routes are refused there, and a refused route counts as kept.",
            main=True,
        ),
        _behind("ahead", "ahead of the mean-probability rule at every cost", "curves"),
        _behind("ahead-exact", "the same over exactly scored tasks alone", "curves_exactly_scored"),
        Target(
            "mix",
            "on a mix where the large model is 10 points better on half or more",
            "cascade",
            at(*_LARGE, "mix", "share_where_large_is_10_points_better"),
            at_least(0.5),
            Unit.SHARE,
            how="A condition on the test, not a merit.",
        ),
        Target(
            "demo-saved",
            "the demo pair's own saving, beside its ceiling",
            "cascade",
            at("profiles", "demo", "curves", "by_parameters", "at_target", "saved"),
            None,
            Unit.SHARE,
            interval=at("profiles", "demo", "curves", "by_parameters", "at_target", "saved_95"),
            beside=(
                Beside(
                    "always small, the ceiling",
                    at("profiles", "demo", "curves", "by_parameters", "always_small", "saved"),
                    Unit.SHARE,
                ),
            ),
            how="135M / 0.5B, by parameters.",
        ),
    ),
)
