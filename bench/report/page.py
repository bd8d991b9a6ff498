"""The report as one HTML file: no script, nothing loaded from elsewhere, light and dark."""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bench.report.outcome import Outcome, Report, Run, Verdict
from bench.report.targets import UNMEASURED

REACH = 3.0
"""Doublings from the target to either end of a bar; what is beyond ends there."""
_GLYPHS = {Verdict.MET: "✓", Verdict.NOT_MET: "✗", Verdict.REPORTED: "·", Verdict.NOT_MEASURED: "?"}


def page(report: Report) -> str:
    """The whole file. It tells nothing of now, so the same results always make the same page."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("page.html.jinja").render(
        report=report,
        verdicts=[(verdict, report.count(verdict, main_only=True), report.count(verdict)) for verdict in Verdict],
        num_main=sum(outcome.target.main for outcome in report.outcomes),
        glyphs=_GLYPHS,
        is_met=Verdict.MET,
        reach=reach,
        bar=_bar,
        when=when,
        run_id=_run_id,
        whole_run_began=_began(report.whole_run),
        unmeasured=UNMEASURED,
    )


def reach(outcome: Outcome) -> float | None:
    """Doublings from the target, 0 being just met, cut at REACH; None where there is no scale."""
    if outcome.ratio is None:
        return None
    return REACH if math.isinf(outcome.ratio) else max(-REACH, min(REACH, math.log2(max(outcome.ratio, 1e-9))))


def when(time: datetime | None) -> str:
    """For people."""
    return "not told" if time is None else f"{time:%d %b %Y, %H:%M} UTC"


def _bar(outcome: Outcome) -> dict[str, float] | None:
    """Left end and width of the bar in percent; the target is in the middle."""
    length = reach(outcome)
    if length is None:
        return None
    end = 50 + 50 * length / REACH
    return {"left": round(min(50.0, end), 1), "width": round(max(abs(end - 50), 0.8), 1)}


def _run_id(report: Report, run: Run) -> str:
    return f"run-{report.runs.index(run) + 1}"


def _began(whole_run: Any) -> datetime | None:
    return None if whole_run is None else datetime.fromisoformat(whole_run["began_at"])
