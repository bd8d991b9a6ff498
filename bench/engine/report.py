"""From rates to ratios, a table and a plot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich.table import Table

Rates = Mapping[str, Mapping[str, float]]
"""Contender -> batch size -> decode tokens per second."""


def ratios(rates: Rates) -> dict[str, dict[str, float]]:
    """Each a map from batch size to this engine's rate over another's."""
    pairs = {
        "vs_peft_mixed": ("mixed", "peft"),
        "vs_one_at_a_time": ("mixed", "one_at_a_time"),
        "vs_transformers": ("base", "transformers"),
        "mixed_vs_transformers": ("mixed", "transformers"),
        "share_of_own_base": ("mixed", "base"),
        "mixed_vs_single": ("mixed", "single"),
        "share_of_floor": ("mixed", "floor"),
        "base_share_of_floor": ("base", "floor"),
        "base_vs_vllm_base": ("base", "vllm_base"),
        "vs_vllm_mixed": ("mixed", "vllm_mixed"),
        "int4_vs_llama_cpp": ("base_int4", "llama_cpp_base"),
    }
    return {
        name: {size: round(rate / rates[below][size], 3) for size, rate in rates[above].items() if size in rates[below]}
        for name, (above, below) in pairs.items()
        if above in rates and below in rates
    }


def table(rates: Rates, title: str) -> Table:
    """A row per contender."""
    sizes = list(rates["mixed"])
    drawn = Table("contender", *(f"{size} rows" for size in sizes), title=title)
    for name, found in rates.items():
        drawn.add_row(name, *(f"{found[size]:.1f}" if size in found else "" for size in sizes))
    return drawn


def plot(rates: Rates, title: str, file: Path) -> None:
    """Tokens per second against rows in the batch, one line per contender."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.5))
    for name, found in rates.items():
        style = {"floor": ":", "peft": "--", "one_at_a_time": "--", "transformers": "--"}.get(name, "-")
        axes.plot([int(size) for size in found], list(found.values()), style, marker="o", label=name)
    axes.set(xscale="log", yscale="log", xlabel="rows in the batch", ylabel="decode tokens/s", title=title)
    axes.set_xticks([int(size) for size in rates["mixed"]], labels=list(rates["mixed"]))
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(file, dpi=120)
    pyplot.close(figure)
