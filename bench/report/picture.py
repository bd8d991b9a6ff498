"""The report as one picture: how far each target was reached, 1 being the target."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from PIL import Image

from bench.report.outcome import Outcome, Report, Verdict
from bench.report.page import REACH, reach

_COLOURS = {Verdict.MET: "#0d7a5f", Verdict.NOT_MET: "#b3361e"}
_GREY, _INK = "#6b7780", "#17222a"
_ROW_INCHES = 0.27
_NUM_COLOURS = 48
"""Enough for smooth letters; a fifth of the bytes."""
_UNSCALED = {Verdict.MET: "met", Verdict.NOT_MET: "not met", Verdict.NOT_MEASURED: "not measured"}


def picture(report: Report, path: Path) -> None:
    """Write a PNG. Targets with no bound are left to the page."""
    lines: list[str | Outcome] = []
    for title, outcomes in report.sections:
        shown = [outcome for outcome in outcomes if outcome.target.bound is not None]
        lines += [title, *shown] if shown else []
    figure = Figure(figsize=(13, 1.5 + _ROW_INCHES * len(lines)), layout="constrained")
    axes = figure.subplots()
    for place, line in enumerate(lines):
        if isinstance(line, str):
            axes.text(
                -0.01,
                place,
                line,
                ha="right",
                va="center",
                weight="bold",
                size=11,
                color="#0b6b78",
                transform=axes.get_yaxis_transform(),
            )
        else:
            _row(axes, place, line)
    axes.axvline(0, color=_INK, linewidth=1.2)
    axes.set(xlim=(-REACH - 0.1, REACH + 0.1), ylim=(len(lines) - 0.5, -0.7), yticks=[])
    ticks = range(-int(REACH), int(REACH) + 1)
    axes.set_xticks(list(ticks), [f"{2.0**tick:g}" for tick in ticks])
    axes.set_xlabel("times the target; to the right it is passed, what is beyond an end is cut there")
    axes.xaxis.set_ticks_position("both")
    axes.tick_params(axis="x", labeltop=True, length=3)
    axes.grid(axis="x", color="#dde3e7", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["left", "right"]].set_visible(False)
    figure.suptitle(_title(report), x=0.01, ha="left", size=13, weight="bold")
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=100)
    Image.open(drawn).convert("RGB").quantize(_NUM_COLOURS).save(path, optimize=True)


def _row(axes: Any, place: int, outcome: Outcome) -> None:
    colour, length = _COLOURS.get(outcome.verdict, _GREY), reach(outcome)
    weight = "bold" if outcome.target.main else "normal"
    axes.text(
        -0.01, place, outcome.target.says, ha="right", va="center", size=8.5, weight=weight, color=_INK,
        transform=axes.get_yaxis_transform(),
    )  # fmt: skip
    text = f"{outcome.found}   asked {outcome.asked}" if outcome.found else f"not measured, asked {outcome.asked}"
    axes.text(1.02, place, text, ha="left", va="center", size=8.5, color=colour, transform=axes.get_yaxis_transform())
    if length is not None:
        axes.barh(place, length, height=0.62, color=colour)
        axes.plot(length, place, marker="o", markersize=3.5, color=colour, clip_on=False)
    else:
        axes.text(0.05, place, _UNSCALED[outcome.verdict], va="center", size=8, color=colour, style="italic")


def _title(report: Report) -> str:
    bounds = report.count(Verdict.MET) + report.count(Verdict.NOT_MET) + report.count(Verdict.NOT_MEASURED)
    period = report.period
    dates = "" if period is None else f"; runs from {period[0]:%d %b} to {period[1]:%d %b %Y}"
    return (
        f"Headrace: {report.count(Verdict.MET)} of {bounds} targets met, {report.count(Verdict.NOT_MET)} not met, "
        f"{report.count(Verdict.NOT_MEASURED)} not measured{dates}"
    )
