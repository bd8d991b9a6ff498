"""A finding of one check, and the item of the list that it becomes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Status = Literal["pass", "warn", "fail", "not_applicable"]
STATUSES: tuple[Status, ...] = get_args(Status)
Area = Literal[
    "data",
    "training",
    "evaluation",
    "routing",
    "cascade",
    "cost",
    "serving",
    "reliability",
    "security",
    "observability",
    "compliance",
]
AREAS: tuple[Area, ...] = get_args(Area)


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check saw. Make it with one of the four functions."""

    status: Status
    evidence: str
    """What was seen, with its figures, in one or two sentences."""
    fix: str = ""
    """What mends it, rather a command; empty where nothing is to mend."""

    @staticmethod
    def good(evidence: str) -> Finding:
        """It is as it should be."""
        return Finding("pass", evidence)

    @staticmethod
    def warn(evidence: str, fix: str) -> Finding:
        """It works, and should be better before others depend on it."""
        return Finding("warn", evidence, fix)

    @staticmethod
    def fail(evidence: str, fix: str) -> Finding:
        """It must not go into production like this."""
        return Finding("fail", evidence, fix)

    @staticmethod
    def not_applicable(evidence: str) -> Finding:
        """There is nothing to look at, and why."""
        return Finding("not_applicable", evidence)


@dataclass(frozen=True, slots=True)
class Item:
    """One line of the checklist."""

    id: str
    """`area.name`; stable between versions."""
    area: Area
    title: str
    """What should hold."""
    status: Status
    evidence: str
    fix: str


def worst(findings: list[Finding], nothing: str = "There is nothing to look at.") -> Finding:
    """Several findings of one check as one: the worst status, and the words of all that have it.

    `nothing`: why there is nothing to look at, where there are none.

    >>> worst([Finding.good("a"), Finding.warn("b", "do x"), Finding.warn("c", "do x")])
    Finding(status='warn', evidence='b c', fix='do x')
    """
    if not findings:
        return Finding.not_applicable(nothing)
    order: tuple[Status, ...] = ("fail", "warn", "pass", "not_applicable")
    status = next(one for one in order if any(finding.status == one for finding in findings))
    those = [finding for finding in findings if finding.status == status]
    fixes = dict.fromkeys(finding.fix for finding in those if finding.fix)
    return Finding(status, " ".join(finding.evidence for finding in those), " ".join(fixes))
