"""The two files of the report."""

from __future__ import annotations

from pathlib import Path

from bench.report.outcome import Report, report
from bench.report.page import page
from bench.report.picture import picture
from bench.report.targets import SECTIONS


def write(results: Path, out: Path) -> Report:
    """Write report.html and report.png into `out` from the files in `results`."""
    found = report(SECTIONS, results)
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.html").write_text(page(found), encoding="utf-8")
    picture(found, out / "report.png")
    return found
