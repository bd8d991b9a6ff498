"""Tables for people."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

MIXES = {"curves": "all tasks", "curves_exactly_scored": "exactly scored tasks"}


def show(found: dict[str, Any]) -> None:
    """Print what was measured."""
    console = Console()
    for profile, figures in found["profiles"].items():
        console.print(_guarantee(f"{profile}: stated risk kept in so many draws", figures["guarantee"]))
        for mix, title in MIXES.items():
            for prices, curve in figures[mix].items():
                console.print(_curve(f"{profile}, {title}, {prices.replace('_', ' ')}", curve))
        share = figures["mix"]["share_where_large_is_10_points_better"]
        console.print(f"{profile}: the large model is 10 points better on {share:.0%} of the mix")


def _guarantee(title: str, experiments: dict[str, Any]) -> Table:
    table = Table("experiment", "rule", "route", "stated", "draws that accept", "accepted", "kept", title=title)
    for experiment, rules in experiments.items():
        for rule, found in rules.items():
            for route, row in found["routes"].items():
                figures = (row["alpha"], row["draws_that_accept"], row["accepted_share"], row["kept"])
                table.add_row(experiment, rule, route, *(f"{share:.1%}" for share in figures))
    return table


def _curve(title: str, curve: dict[str, Any]) -> Table:
    table = Table("way", "quality", "saved", "escalated", title=title)
    rows = {name: curve[name] for name in ("always_small", "always_large", "mean_probability_0.9", "at_target")}
    rows |= {f"ours, budget {budget}": row for budget, row in curve["ours"].items()}
    for name, row in rows.items():
        table.add_row(name, f"{row['quality']:.3f}", f"{row['saved']:.1%}", f"{row['escalated']:.1%}")
    return table
