"""The report as a table for a terminal."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from bench.report.outcome import Report, Verdict

_STYLES = {Verdict.MET: "green", Verdict.NOT_MET: "red", Verdict.REPORTED: "dim", Verdict.NOT_MEASURED: "yellow"}


def table(found: Report) -> Table:
    """Every target in a line."""
    shown = Table(title="Numbers to reach", title_justify="left")
    shown.add_column("target")
    shown.add_column("asked", justify="right")
    shown.add_column("measured", justify="right")
    shown.add_column("verdict", no_wrap=True)
    for title, outcomes in found.sections:
        shown.add_section()
        shown.add_row(Text(title, style="bold"))
        for one in outcomes:
            verdict = Text(one.verdict.value + (" ≈" if one.is_unsure else ""), style=_STYLES[one.verdict])
            says = Text(one.target.says, style="" if one.target.main else "dim")
            shown.add_row(says, Text(one.asked), Text(one.found), verdict)
    return shown
