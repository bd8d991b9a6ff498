"""The picture: quality against the share of calls that go to the strong model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

DRAWN = {
    "ours": ("tab:blue", "ours"),
    "gain_model": ("tab:green", "pre-router as served"),
    "subject_mean": ("tab:orange", "subject's mean gain"),
    "tfidf_lr": ("tab:red", "TF-IDF + LR"),
    "length": ("tab:purple", "length"),
}


def draw(out_of_fold: dict[str, Any], path: Path) -> None:
    """One panel a benchmark."""
    figure, panels = plt.subplots(1, len(out_of_fold), figsize=(6.5 * len(out_of_fold), 4.6), squeeze=False)
    for panel, (name, found) in zip(panels[0], out_of_fold.items(), strict=True):
        ends = found["curves"]["ours"]["quality"]
        panel.plot([0, 100], [100 * ends[0], 100 * ends[-1]], "k:", label="random, APGR .500")
        for contender, (colour, label) in DRAWN.items():
            if contender not in found["curves"]:
                continue
            points, apgr = found["curves"][contender], found["contenders"][contender]["apgr"]
            share, quality = ([100 * value for value in points[axis]] for axis in ("share", "quality"))
            panel.plot(share, quality, "o-", ms=3, color=colour, label=f"{label}, {apgr:.3f}".replace("0.", "."))
        panel.set_title(f"{name}, out of fold")
        panel.set_xlabel("share of calls to the strong model, %")
        panel.set_ylabel("right answers, %")
        panel.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
