"""Judges a run: every answer against the log of changes, the versions' own answers, and the ledger."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import pairwise
from typing import Any

from bench.lifecycle.changes import Change

CONVERGE_S = 2.0
"""Within which all replicas follow a change."""
_NO_ROW = "no row"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request for the name. Times are seconds since the epoch."""

    text: str
    sent_at_s: float
    done_at_s: float
    status: int | None
    fault: str | None = None
    query_id: str | None = None
    version: str | None = None
    """As the answer says."""
    answer: str | None = None


@dataclass
class Verdict:
    """Counts; `problems` names some of what was wrong."""

    answered: int = 0
    failed: int = 0
    absent: int = 0
    """404 while the name was removed: right, and neither answered nor failed."""
    wrong_time: int = 0
    """A version that was neither live nor canary then."""
    wrong_text: int = 0
    """Not what the version that it names says."""
    wrong_row: int = 0
    """The ledger has no row of it, or one of another version."""
    unsticky: int = 0
    """One conversation, one state, two versions."""
    by_version: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    @property
    def misversioned(self) -> int:
        """Answers with anything wrong about their version."""
        return self.wrong_time + self.wrong_text + self.wrong_row + self.unsticky


@dataclass(frozen=True, slots=True)
class Phase:
    """Between two changes. The end of the last is infinite."""

    begins_at_s: float
    """When the change was asked for: from then on it may count."""
    ends_at_s: float
    """When the next change was done, and all replicas had time to follow."""
    live: str | None
    canary: str | None
    settled_at_s: float
    """From when on only this phase counts, until the next change is asked for."""
    next_asked_at_s: float


def phases(changes: Sequence[Change]) -> list[Phase]:
    """What was allowed when, from the log.

    >>> one, two = Change("add", 0, 1, "a", None, 0.0), Change("promote", 10, 11, "b", None, 0.0)
    >>> [(phase.live, phase.begins_at_s, phase.ends_at_s) for phase in phases([one, two])]
    [('a', 0, 13.0), ('b', 10, inf)]
    """
    found = []
    for index, change in enumerate(changes):
        after = changes[index + 1] if index + 1 < len(changes) else None
        ends = after.done_at_s + CONVERGE_S if after else float("inf")
        next_asked = after.asked_at_s if after else float("inf")
        settled = change.done_at_s + CONVERGE_S
        found.append(Phase(change.asked_at_s, ends, change.live, change.canary, settled, next_asked))
    return found


def judge(
    asked: Sequence[Asked],
    changes: Sequence[Change],
    answers: Mapping[tuple[str, str], str],
    rows: Mapping[str, str | None],
) -> Verdict:
    """`answers`: (version, text) -> what that version says; `rows`: query id -> version in the ledger."""
    verdict, plan = Verdict(), phases(changes)
    seen: dict[tuple[int, str], set[str]] = {}
    for one in asked:
        possible = [phase for phase in plan if phase.begins_at_s <= one.done_at_s and phase.ends_at_s >= one.sent_at_s]
        if one.status == HTTPStatus.NOT_FOUND and any(phase.live is None for phase in possible):
            verdict.absent += 1
            continue
        if one.status != HTTPStatus.OK or one.fault is not None:
            verdict.failed += 1
            _note(verdict, "failed", one, f"{one.status} {one.fault}")
            continue
        verdict.answered += 1
        version = one.version or ""
        verdict.by_version[version] += 1
        if version not in {name for phase in possible for name in (phase.live, phase.canary)}:
            verdict.wrong_time += 1
            _note(verdict, "wrong time", one, version)
        if answers.get((version, one.text)) != one.answer:
            verdict.wrong_text += 1
            _note(verdict, "wrong text", one, f"{version}: {one.answer!r}")
        if rows.get(one.query_id or "", _NO_ROW) != one.version:
            verdict.wrong_row += 1
            _note(verdict, "wrong row", one, version)
        for index, phase in enumerate(plan):
            if phase.settled_at_s <= one.sent_at_s and one.done_at_s <= phase.next_asked_at_s:
                seen.setdefault((index, one.text), set()).add(version)
    verdict.unsticky = sum(len(versions) > 1 for versions in seen.values())
    return verdict


def convergence(asked: Sequence[Asked], changes: Sequence[Change]) -> list[dict[str, Any]]:
    """Of each change of the live version: seconds after its call was answered until the old one was last sent for."""
    found = []
    for number, (before, change) in enumerate(pairwise(changes), 1):
        if change.live == before.live:
            continue
        next_asked_at_s = changes[number + 1].asked_at_s if number + 1 < len(changes) else float("inf")
        old = [one.sent_at_s for one in asked if one.version is not None and one.version == before.live]
        after = [sent for sent in old if change.done_at_s <= sent < next_asked_at_s]
        found.append(
            {"what": change.what, "old_sent_after_s": round(max(after) - change.done_at_s, 2) if after else 0.0}
        )
    return found


def _note(verdict: Verdict, what: str, one: Asked, detail: str) -> None:
    if len(verdict.problems) < 20:
        verdict.problems.append(f"{what} at {one.sent_at_s:.2f}: {detail} ({one.text})")
