"""The picture: quality against cost, and how often the stated risk was kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

RULES = {"learn_then_test": "tested", "empirical": "empirical"}
COLOURS = {"learn_then_test": "tab:blue", "empirical": "tab:orange"}


def draw(profiles: dict[str, Any], path: Path) -> None:
    """One row a profile: curves at prices by parameters, by time, and the guarantee."""
    figure, axes = plt.subplots(len(profiles), 3, figsize=(15, 4.4 * len(profiles)), squeeze=False)
    for row, (profile, found) in zip(axes, profiles.items(), strict=True):
        for panel, prices in zip(row[:2], ("by_parameters", "by_time"), strict=True):
            panel.set_visible(prices in found["curves"])
            if prices in found["curves"]:
                _curve(panel, found["curves"][prices])
                panel.set_title(f"{profile}, prices {prices.replace('_', ' ')}")
        _guarantee(row[2], found["guarantee"])
        row[2].set_title(f"{profile}, 200 draws of calibration and test")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _curve(panel: Any, curve: dict[str, Any]) -> None:
    panel.plot(*zip(*sorted(curve["oracle"]), strict=True), color="0.75", label="oracle")
    panel.plot(*zip(*sorted(curve["mean_probability"]), strict=True), color="tab:orange", label="mean probability")
    ends = [curve["always_small"], curve["always_large"]]
    panel.plot([p["cost"] for p in ends], [p["quality"] for p in ends], "k:", label="random mix")
    own = sorted(curve["ours"].values(), key=lambda point: point["cost"])
    panel.plot([p["cost"] for p in own], [p["quality"] for p in own], "o-", color="tab:blue", ms=4, label="Headrace")
    low, high = zip(*(point["quality_95"] for point in own), strict=True)
    panel.fill_between([p["cost"] for p in own], low, high, color="tab:blue", alpha=0.15)
    target = curve["at_target"]
    panel.plot([target["cost"]], [target["quality"]], "*", color="tab:red", ms=14, label="cheapest within the slack")
    panel.axhline(curve["always_large"]["quality"], color="0.5", lw=0.8)
    panel.set_xlabel("cost, always-large = 1")
    panel.set_ylabel("share of right answers")
    panel.legend(fontsize=8)


def _guarantee(panel: Any, found: dict[str, Any]) -> None:
    """A pair of bars for each route in which either rule accepts anything, of those calibrated on a third."""
    names: list[str] = []
    for experiment, rules in found.items():
        if not experiment.endswith("_third"):
            continue
        for route in rules["learn_then_test"]["routes"]:
            pair = {rule: rules[rule]["routes"][route] for rule in RULES}
            if not any(row["draws_that_accept"] for row in pair.values()):
                continue
            for shift, (rule, row) in zip((-0.2, 0.2), pair.items(), strict=True):
                label = RULES[rule] if not names else None
                panel.bar(len(names) + shift, row["kept"], 0.4, color=COLOURS[rule], label=label)
                panel.text(len(names) + shift, 0.02, f"{row['accepted_share']:.0%}", rotation=90, ha="center", size=6)
            names.append(f"{experiment.removesuffix('_third').replace('_', ' ')}\n{route} {pair[rule]['alpha']:.0%}")
    panel.axhline(0.9, color="k", lw=0.8, ls="--")
    panel.set_xticks(range(len(names)), names, rotation=60, fontsize=6)
    panel.set_ylim(0, 1)
    panel.set_ylabel("draws that kept the risk (in bars: accepted)")
    panel.legend(fontsize=7, loc="lower right")
