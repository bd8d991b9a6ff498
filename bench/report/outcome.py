"""Targets held against result files: met, not met, not measured. A figure that is not there is never guessed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any

from bench.report.target import NotThere, Reading, Section, Target

WHOLE_RUN = "run"
"""The result file that `bench.all` writes: which benches one run took, and when."""
BUSY = 2.0
"""A load average at the start above which something else was running (docs/benchmarks.md)."""


class Verdict(Enum):
    """What became of a target."""

    MET = "met"
    NOT_MET = "not met"
    REPORTED = "reported"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Run:
    """How, when and where the figures of a file were taken. None: the file does not say."""

    results: str
    command: str | None
    commit: str | None
    taken_at: datetime | None
    processor: str | None
    cores: int | None
    load: float | None
    """Load average of a minute before it began."""

    @property
    def is_quick(self) -> bool:
        return self.command is not None and "--quick" in self.command.split()

    @property
    def was_busy(self) -> bool:
        return self.load is not None and self.load > BUSY


@dataclass(frozen=True)
class Outcome:
    """One target and what was found. Texts carry their units."""

    target: Target
    verdict: Verdict
    measured: float | None = None
    bound: float | None = None
    interval: tuple[float, float] | None = None
    beside: tuple[tuple[str, str], ...] = ()
    run: Run | None = None
    why: str = ""
    """Why it is not measured."""

    @property
    def asked(self) -> str:
        """The bound in words; a peer's figure that was not found by its name."""
        bound = self.target.bound
        if bound is None:
            return "reported"
        value = bound.value if isinstance(bound.value, (int, float)) else self.bound
        written = self.compared_with if value is None else self.target.unit.text(value)
        return written if bound.sign == "=" else f"{bound.sign} {written}"

    @property
    def compared_with(self) -> str:
        """Whose figure the bound is; empty where it is a number."""
        bound = self.target.bound
        return "" if bound is None or isinstance(bound.value, (int, float)) else bound.value.says

    @property
    def found(self) -> str:
        """The measured figure in words."""
        return "" if self.measured is None else self.target.unit.text(self.measured)

    @property
    def found_between(self) -> str:
        """The interval in words."""
        text = self.target.unit.text
        return "" if self.interval is None else f"{text(self.interval[0])} to {text(self.interval[1])}"

    @property
    def is_unsure(self) -> bool:
        """Whether the bound lies inside the interval, so that chance may have decided."""
        return (
            self.bound is not None and self.interval is not None and self.interval[0] <= self.bound <= self.interval[1]
        )

    @property
    def ratio(self) -> float | None:
        """How far it got: 1 is the target, more is better. None where there is no such scale."""
        bound = self.target.bound
        if bound is None or bound.wants_more is None or self.measured is None or self.bound is None:
            return None
        if self.bound <= 0 or self.measured < 0:
            return None
        if bound.wants_more:
            return self.measured / self.bound
        return self.bound / self.measured if self.measured else float("inf")


@dataclass(frozen=True)
class Report:
    """Everything on the page."""

    sections: tuple[tuple[str, tuple[Outcome, ...]], ...]
    whole_run: Mapping[str, Any] | None
    """What bench/results/run.json says; None where no run of all benches is on record."""

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        return tuple(outcome for _, outcomes in self.sections for outcome in outcomes)

    def count(self, verdict: Verdict, main_only: bool = False) -> int:
        """How many targets came to this."""
        return sum(outcome.verdict is verdict and (outcome.target.main or not main_only) for outcome in self.outcomes)

    @property
    def runs(self) -> tuple[Run, ...]:
        """Each run once, in the order of the page."""
        return tuple(dict.fromkeys(outcome.run for outcome in self.outcomes if outcome.run is not None))

    def is_of_whole_run(self, run: Run) -> bool:
        """Whether one run of all benches took it."""
        if self.whole_run is None or run.taken_at is None:
            return False
        began, ended = (datetime.fromisoformat(self.whole_run[key]) for key in ("began_at", "ended_at"))
        return began.replace(second=0, microsecond=0) <= run.taken_at <= ended + timedelta(minutes=1)

    @property
    def period(self) -> tuple[datetime, datetime] | None:
        """When the first and the last of the runs began."""
        times = sorted(run.taken_at for run in self.runs if run.taken_at is not None)
        return (times[0], times[-1]) if times else None


def report(sections: Sequence[Section], results: Path) -> Report:
    """All targets against the files in `results`. Raises ValueError where a file there is not JSON."""
    stems = {target.results for section in sections for target in section.targets} | {WHOLE_RUN}
    files = {stem: _file(results / f"{stem}.json") for stem in stems}
    return Report(
        tuple((section.title, tuple(_outcomes(section.targets, files))) for section in sections), files[WHOLE_RUN]
    )


def _file(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _outcomes(targets: Iterable[Target], files: Mapping[str, Any]) -> Iterable[Outcome]:
    for target in targets:
        found = files[target.results]
        if found is None:
            yield Outcome(target, Verdict.NOT_MEASURED, why=f"there is no {target.results}.json")
        else:
            yield outcome_of(target, found)


def outcome_of(target: Target, found: Any) -> Outcome:
    """One target against its result file."""
    run = _run(target, found)
    try:
        measured = float(target.measured(found))
    except NotThere as missing:
        return Outcome(target, Verdict.NOT_MEASURED, run=run, why=f"{target.results}.json does not hold {missing}")
    bound = _bound(target, found)
    interval = _optional(target.interval, found)
    verdict = Verdict.REPORTED
    if target.bound is not None:
        if bound is None:
            why = f"{target.results}.json does not hold what it is to be compared with"
            return Outcome(target, Verdict.NOT_MEASURED, measured, run=run, why=why)
        verdict = Verdict.MET if target.bound.allows(measured, bound) else Verdict.NOT_MET
    figures = ((one.name, one.unit, _optional(one.reading, found)) for one in target.beside)
    beside = tuple((name, unit.text(float(figure))) for name, unit, figure in figures if figure is not None)
    return Outcome(
        target, verdict, measured, bound, None if interval is None else (interval[0], interval[1]), beside, run
    )


def _bound(target: Target, found: Any) -> float | None:
    if target.bound is None:
        return None
    value = target.bound.value
    return float(value) if isinstance(value, (int, float)) else _optional(value, found)


def _optional(reading: Reading | None, found: Any) -> Any:
    if reading is None:
        return None
    try:
        return reading(found)
    except NotThere:
        return None


def _run(target: Target, found: Any) -> Run:
    """What the file says of its run; files of some benches have no such part."""
    facts = _optional(target.machine, found) or {}
    taken_at = facts.get("taken_at")
    return Run(
        target.results,
        facts.get("command"),
        facts.get("commit"),
        datetime.fromisoformat(taken_at) if taken_at else None,
        facts.get("processor"),
        facts.get("cores"),
        facts.get("load_1min_before"),
    )
