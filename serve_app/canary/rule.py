"""The rule: evidence in, verdict and reasons out. Changes nothing; docs/canary.md has it in words.

Promote: the canary's mean score is surely above the live version's minus the margin (one test at alpha), enough pairs
were seen, and neither errors nor cost nor latency look worse than allowed. Withdraw: surely worse than allowed in one
of quality, errors, cost and latency (four tests, each at alpha / 4), or undecided for too long. All tests hold at all
times at once, so the rule may be asked after every pair.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from serve_app.canary.evidence import TrialEvidence, mean_ratio, relative_excess
from serve_app.confidence.watch.mean import log_mean_above, mean_bounds
from serve_app.config.canary import CanarySettings

Decision = Literal["promote", "rollback"]
Subject = Literal["quality", "errors", "cost", "latency"]

_NUM_GUARDS = 4


@dataclass(frozen=True, slots=True)
class Finding:
    """What the evidence says of one subject."""

    subject: Subject
    num_pairs: int
    estimate: float | None
    """Canary minus live: of mean scores, or of shares of failures. Of cost and latency: canary over live, as the
    geometric mean. None: no pair."""
    allowed: float
    """The worst `estimate` that is allowed."""
    log_worse: float
    """Evidence that it is worse than allowed; natural logarithm of an e-value."""
    log_worse_needed: float
    """At which it counts as sure."""

    @property
    def is_worse(self) -> bool:
        """Surely worse than allowed."""
        return self.log_worse >= self.log_worse_needed

    @property
    def looks_worse(self) -> bool:
        """The estimate alone is worse than allowed."""
        if self.estimate is None:
            return False
        return self.estimate < self.allowed if self.subject == "quality" else self.estimate > self.allowed


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the rule says now."""

    decision: Decision | None
    """None: more evidence is needed."""
    reasons: tuple[str, ...]
    """Why, or what a promotion still waits for; for people."""
    findings: tuple[Finding, ...]
    quality_bounds: tuple[float, float]
    """Hold the mean difference of scores at all times with probability 1 - alpha."""
    log_as_good: float
    """Evidence that the canary is not worse by the margin; natural logarithm of an e-value."""
    log_as_good_needed: float
    agreement: float | None
    """How alike the answers of the two versions are where there is no large model to compare with; None: there is."""

    def as_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            **asdict(self),
            "reasons": list(self.reasons),
            "findings": [
                {**asdict(one), "is_worse": one.is_worse, "looks_worse": one.looks_worse} for one in self.findings
            ],
            "quality_bounds": list(self.quality_bounds),
        }


def verdict(evidence: TrialEvidence, settings: CanarySettings, age_h: float) -> Verdict:
    """What the rule says of a trial that is `age_h` hours old."""
    differences = evidence.differences()
    findings = _findings(evidence, differences, settings)
    log_as_good, needed = log_mean_above(differences, -settings.margin), -math.log(settings.alpha)
    worse = tuple(_worse(one) for one in findings if one.is_worse)
    lacking = _lacking(evidence, findings, log_as_good >= needed, settings)
    decision: Decision | None = None
    reasons = lacking
    if worse:
        decision, reasons = "rollback", worse
    elif not lacking:
        decision, reasons = "promote", (_as_good(findings[0], settings),)
    elif age_h >= settings.max_hours:
        decision, reasons = "rollback", (f"not shown to be as good within {settings.max_hours:g} hours", *lacking)
    return Verdict(
        decision,
        reasons,
        findings,
        mean_bounds(differences, settings.alpha),
        log_as_good,
        needed,
        evidence.mean_agreement(),
    )


def _findings(
    evidence: TrialEvidence, differences: Mapping[float, int], settings: CanarySettings
) -> tuple[Finding, Finding, Finding, Finding]:
    worse_scores = {-value: number for value, number in differences.items()}
    errors = {float(value): number for value, number in evidence.errors.items()}
    max_cost, max_latency = settings.max_cost_factor, settings.max_latency_factor
    more_errors = settings.max_error_difference
    needed = -math.log(settings.alpha / _NUM_GUARDS)

    def finding(
        subject: Subject, values: Mapping[float, int], bound: float, estimate: float | None, allowed: float
    ) -> Finding:
        return Finding(subject, sum(values.values()), estimate, allowed, log_mean_above(values, bound), needed)

    return (
        finding("quality", worse_scores, settings.margin, _mean(differences), -settings.margin),
        finding("errors", errors, more_errors, _mean(errors), more_errors),
        finding("cost", relative_excess(evidence.cost, max_cost), 0.0, mean_ratio(evidence.cost), max_cost),
        finding("latency", relative_excess(evidence.latency, max_latency), 0.0, mean_ratio(evidence.latency),
                max_latency),
    )  # fmt: skip


def _lacking(
    evidence: TrialEvidence, findings: tuple[Finding, ...], is_as_good: bool, settings: CanarySettings
) -> tuple[str, ...]:
    """What a promotion still waits for."""
    quality, errors = findings[0], findings[1]
    lacking = []
    if evidence.agreement and not evidence.quality:
        lacking.append("there is no large model to compare with, so quality is for people to judge")
    elif quality.num_pairs < settings.min_pairs:
        lacking.append(f"{quality.num_pairs} of {settings.min_pairs} compared answers")
    if errors.num_pairs < settings.min_pairs:
        lacking.append(f"{errors.num_pairs} of {settings.min_pairs} pairs of neighbouring queries")
    if not is_as_good:
        lacking.append(f"quality is not surely within {settings.margin:g} of the live version's")
    lacking += [f"{one.subject} looks worse than allowed" for one in findings if one.looks_worse]
    return tuple(lacking)


def _as_good(quality: Finding, settings: CanarySettings) -> str:
    """For the audit log."""
    return (
        f"mean score {quality.estimate or 0.0:+.3f} against the live version over {quality.num_pairs} answers: surely "
        f"above {-settings.margin:g} (wrong with probability at most {settings.alpha:g}); errors, cost and latency "
        "within bounds"
    )


def _worse(finding: Finding) -> str:
    """For the audit log."""
    estimate, allowed, pairs = finding.estimate or 0.0, finding.allowed, finding.num_pairs
    if finding.subject == "quality":
        return f"mean score {estimate:+.3f} over {pairs} answers, surely below the allowed {allowed:+g}"
    if finding.subject == "errors":
        return f"share of failures {estimate:+.3f} over {pairs} pairs, surely above the allowed {allowed:+g}"
    return f"{finding.subject} x {estimate:.2f} over {pairs} pairs, surely above the allowed x {allowed:g}"


def _mean(values: Mapping[float, int]) -> float | None:
    total = sum(values.values())
    return sum(value * number for value, number in values.items()) / total if total else None
