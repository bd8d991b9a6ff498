"""The numbers to reach on a second machine, beside those of this one: what is near a limit depends on the machine."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bench.readme_figures.results import RESULTS
from bench.report.outcome import Outcome, Verdict, report
from bench.report.targets import SECTIONS

FOLDER = "amd_epyc"
"""Of the second machine's result files, in bench/results."""


def elsewhere(results: Path = RESULTS) -> str:
    """A table of the targets that both machines have measured; empty where there is no second one."""
    there = {one.target.name: one for one in report(SECTIONS, results / FOLDER).outcomes if _measured(one)}
    both = [
        (one, there[one.target.name])
        for one in report(SECTIONS, results).outcomes
        if one.target.main and _measured(one) and one.target.name in there
    ]
    if not both:
        return ""
    rows = "\n".join(f"| {one.target.says} | {_cell(one)} | {_cell(other)} |" for one, other in both)
    here, other = (_machines(of) for of in zip(*both, strict=True))
    return (
        f"Here, as above: {here}. There, in runs of their own at other times: {other} (`bench/results/{FOLDER}`).\n\n"
        f"| to reach | here | there |\n|---|---|---|\n{rows}"
    )


def _measured(one: Outcome) -> bool:
    return one.verdict is not Verdict.NOT_MEASURED


def _cell(one: Outcome) -> str:
    return f"{one.found}{'' if one.verdict is Verdict.MET else f', {one.verdict.value}'}"


def _machines(outcomes: Iterable[Outcome]) -> str:
    return " or ".join(sorted({f"{one.run.processor}, {one.run.cores} cores" for one in outcomes if one.run}))
