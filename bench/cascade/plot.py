"""The picture: quality against cost, and how often the stated risk was kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt


RULES = {"learn_then_test": "tested", "empirical": "empirical"}


def draw(profiles: dict[str, Any], path: Path) -> None:
    """One row a profile: curves at prices by parameters, by time, and the guarantee."""
    figure, axes = plt.subplots(len(profiles), 3, figsize=(15, 4.4 * len(profiles)), squeeze=False)
    for row, (profile, found) in zip(axes, profiles.items(), strict=True):
        for panel, (name, curve) in zip(row[:2], found["curves"].items(), strict=True):
            _curve(panel, curve)
            panel.set_title(f"{profile}, prices {name.replace('_', ' ')}")
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
    panel.plot([target["cost"]], [target["quality"]], "*", color="tab:red", ms=14, label="cheapest at target")
    panel.axhline(curve["always_large"]["quality"], color="0.5", lw=0.8)
    panel.set_xlabel("cost, always-large = 1")
    panel.set_ylabel("share of right answers")
    panel.legend(fontsize=8)


def _guarantee(panel: Any, found: dict[str, Any]) -> None:
    names, kept, colours = [], [], []
    for target, rules in found.items():
        for rule, row in rules.items():
            names.append(f"{target.replace('_', ' ')}\n{RULES[rule]}\naccepts {row['accepted_share']:.0%}")
            kept.append(row["kept"])
            colours.append("tab:blue" if rule == "learn_then_test" else "tab:orange")
    panel.bar(names, kept, color=colours)
    panel.axhline(0.9, color="k", lw=0.8, ls="--")
    panel.set_ylim(0, 1)
    panel.set_ylabel("draws that kept the risk, worst route")
    panel.tick_params(axis="x", labelsize=6)
