"""The learning curve of a run as a picture: training loss by step, and validation loss with its best."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from serve_app.training.lora import RunResult

FILE_NAME = "learning_curve.png"
_SMOOTHED_SHARE = 0.05
"""Of the steps, in each point of the thick line."""


def draw(result: RunResult, path: Path) -> bool:
    """Write a PNG; False, and nothing written, where matplotlib is not installed (`headrace[plots]`)."""
    if find_spec("matplotlib") is None:
        return False
    from matplotlib.figure import Figure  # not pyplot: no window, no state shared between threads

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    steps = np.arange(1, len(result.losses) + 1)
    axes.plot(steps, result.losses, color="tab:blue", alpha=0.3, linewidth=0.8)
    width = max(1, round(len(steps) * _SMOOTHED_SHARE))
    smooth = np.convolve(result.losses, np.ones(width) / width, mode="valid")
    axes.plot(steps[width - 1 :], smooth, color="tab:blue", label=f"training, mean of {width} step(s)")
    if result.validations:
        axes.plot(
            *zip(*result.validations, strict=True), color="tab:orange", marker="o", markersize=3, label="validation"
        )
        if result.best_step is not None:
            best = dict(result.validations)[result.best_step]
            axes.plot(
                result.best_step, best, "*", color="tab:red", markersize=11, label=f"best, step {result.best_step}"
            )
    axes.set(xlabel="step", ylabel="loss, nats a completion token", title="Learning curve")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize="small")
    figure.savefig(path, format="png", dpi=110, metadata={"Software": None})
    return True
