"""What was to be reached: how many of the numbers to reach are met, and which are not."""

from __future__ import annotations

from pathlib import Path

from bench.report.outcome import Outcome, Verdict, report
from bench.report.targets import SECTIONS


def reached(results: Path) -> str:
    """One paragraph with the links."""
    found = report(SECTIONS, results)
    main = [outcome for outcome in found.outcomes if outcome.target.main]
    missed = [f"- {_short(outcome)}" for outcome in main if outcome.verdict is not Verdict.MET]
    supporting = [found.count(verdict) - found.count(verdict, main_only=True) for verdict in Verdict]
    names = ", ".join(f"{count} {verdict.value}" for verdict, count in zip(Verdict, supporting, strict=True) if count)
    return (
        "**Numbers to reach**, each with its target, its peers, and the run that took it: "
        "[the report](bench/results/report.html) and [its picture](bench/results/report.png).\n"
        f"Met: {found.count(Verdict.MET, main_only=True)} of {len(main)}. Of those that support them: {names}."
        + "".join(["\n\nNot met:\n\n", "\n".join(missed)] if missed else [])
    )


def _short(outcome: Outcome) -> str:
    return f"{outcome.target.says}: {outcome.found or outcome.verdict.value}"
