"""Whether a new version may go on: a pure rule over paired scores and estimates. Every check says why.

1. `better`      on the gate rows and the labelled ones the new version is surely better than the live one by `gain`
2. `regression`  in no other domain it is surely worse than the live one by more than `margin`
3. `escalation`  at the same stated risk it escalates fewer queries, by at least `fewer`
4. `risk`        what it accepted wrongly does not rule out, at 95 %, that the stated risk is kept
5. `bill`        what it would cost is no more than what the live version costs

None of these rows was trained on, and none is near a row that was. The gate rows are those whose answers passed the
quality rule, so the easier ones: where the live version has them all right already, only labelled rows can tell.

"Surely" is outside the 95 % interval of the paired bootstrap over rows. A version that was trained on noise fails the
first, and mostly the third; one that learnt its domain and forgot the others fails the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import Field

from serve_app.confidence.risk import clopper_pearson_lower
from serve_app.config.section import Section
from serve_app.distill.threshold import Answered, Estimate
from serve_app.training.statistics import Comparison, RowScore, compare

_TAIL = 0.025


class GateSettings(Section):
    """What a new version must show against the live one."""

    gain: float = Field(0.0, ge=0, le=1, description="Gain in score on the gate rows that must be exceeded, surely.")
    margin: float = Field(
        0.05, ge=0, le=1, description="Loss in score that is allowed in each other domain of the regression set."
    )
    fewer: float = Field(0.0, ge=0, le=1, description="Share of the queries by which escalations must fall.")
    alpha: float = Field(0.1, gt=0, lt=1, description="Stated risk: share of accepted answers that may be wrong.")
    delta: float = Field(0.1, gt=0, lt=1, description="Probability with which `alpha` may be missed.")


@dataclass(frozen=True, slots=True)
class Check:
    """One rule and what it found."""

    name: str
    passed: bool
    found: str
    """One sentence with the figures."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Passed where every check did."""

    checks: tuple[Check, ...]
    better: Comparison
    regression: tuple[Comparison, ...]
    before: Estimate
    after: Estimate

    @property
    def passed(self) -> bool:
        """Whether the new version may be published."""
        return all(check.passed for check in self.checks)

    def record(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            "passed": self.passed,
            "checks": [asdict(check) for check in self.checks],
            "gate": asdict(self.better),
            "regression": [asdict(one) for one in self.regression],
            "before": self.before.record(),
            "after": self.after.record(),
        }


def row_scores(answered: Answered) -> list[RowScore]:
    """For `training.statistics.compare`."""
    return [
        RowScore(index, row.group, "score", score, answer=answer.text)
        for index, (row, answer, score) in enumerate(zip(answered.rows, answered.answers, answered.scores, strict=True))
    ]


def judge(
    gate: tuple[Answered, Answered],
    regression: tuple[Answered, Answered] | None,
    estimates: tuple[Estimate, Estimate],
    settings: GateSettings,
    seed: int = 0,
) -> Verdict:
    """The verdict; each pair is the live version, then the new one, on the same rows in the same order."""
    better = _overall(gate, seed)
    domains = () if regression is None else _by_domain(regression, seed)
    before, after = estimates
    checks = [_better(better, settings), *_regression(domains, settings), _escalation(before, after, settings)]
    checks += [_risk(after, settings), *_bill(before, after)]
    return Verdict(tuple(checks), better, domains, before, after)


def _by_domain(pair: tuple[Answered, Answered], seed: int) -> tuple[Comparison, ...]:
    before, after = (row_scores(one) for one in pair)
    found = compare(before, after, seed)
    return tuple(one for one in found if one.group != "all" or len(found) == 1)


def _overall(pair: tuple[Answered, Answered], seed: int) -> Comparison:
    before, after = ([_in_one_group(score) for score in row_scores(one)] for one in pair)
    return compare(before, after, seed)[0]


def _in_one_group(score: RowScore) -> RowScore:
    return RowScore(score.row, "gate", score.metric, score.value, answer=score.answer)


def _better(found: Comparison, settings: GateSettings) -> Check:
    return Check(
        "better", found.low > settings.gain, f"{_change(found)}; it must surely gain more than {settings.gain:g}."
    )


def _regression(domains: Sequence[Comparison], settings: GateSettings) -> list[Check]:
    if not domains:
        return [Check("regression", True, "No regression set was given, so other domains were not looked at.")]
    worse = [one for one in domains if one.high < -settings.margin]
    if not worse:
        names = ", ".join(one.group for one in domains)
        return [Check("regression", True, f"In {names} it is not surely worse by more than {settings.margin:g}.")]
    return [
        Check("regression", False, f"{one.group}: {_change(one)}; {-settings.margin:g} is allowed.") for one in worse
    ]


def _escalation(before: Estimate, after: Estimate, settings: GateSettings) -> Check:
    fell = before.escalation - after.escalation
    told = f"Escalations go from {before.escalation:.1%} to {after.escalation:.1%} of {after.num_rows} queries"
    return Check("escalation", fell > settings.fewer, f"{told}; they must fall by more than {settings.fewer:.1%}.")


def _risk(after: Estimate, settings: GateSettings) -> Check:
    num_accepted = sum(after.accepted)
    if after.risk is None:
        return Check("risk", True, "It accepts no answer, so none is wrong.")
    low = clopper_pearson_lower(round(after.risk * num_accepted), num_accepted, _TAIL)
    told = f"{after.risk:.1%} of {num_accepted} accepted answers are wrong, at least {low:.1%} with 97.5 %"
    return Check("risk", low <= settings.alpha, f"{told}; {settings.alpha:.1%} is stated.")


def _bill(before: Estimate, after: Estimate) -> list[Check]:
    if before.cost_usd is None or after.cost_usd is None:
        return []
    told = f"A query costs ${after.cost_usd:.9f} instead of ${before.cost_usd:.9f}."
    return [Check("bill", after.cost_usd <= before.cost_usd, told)]


def _change(found: Comparison) -> str:
    return (
        f"{found.before:.3f} to {found.after:.3f} on {found.num_rows} rows, "
        f"a change of {found.after - found.before:+.3f} ({found.low:+.3f} to {found.high:+.3f})"
    )
