"""The state of the cascade's guarantee as metrics, read off when somebody asks."""

from collections.abc import Iterator

from serve_app.patterns import CascadeControl
from serve_app.patterns.shadow import ShadowReport
from serve_app.telemetry import instruments as its
from serve_app.telemetry.instruments import Reading

_STATES = ("ok", "drifting", "breached")


def guarantee_readings(control: CascadeControl) -> Iterator[Reading]:
    """Per route: state, audits, evidence, bounds of the risk, drift of signals; and what became of shadows."""
    for label, report in control.report().items():
        route = label or "none"
        for name in _STATES:
            yield Reading(its.GUARANTEE_STATE, float(report.state == name), (route, name))
        yield Reading(its.GUARANTEE_EPOCH, report.epoch, (route,))
        verdicts = {
            "wrong": report.num_wrong,
            "right": report.num_audited - report.num_wrong,
            "not_scored": report.num_not_scored,
            "stale": report.num_stale,
        }
        for verdict, number in verdicts.items():
            yield Reading(its.GUARANTEE_AUDITS, number, (route, verdict))
        yield Reading(its.GUARANTEE_E_VALUE, report.log_e_value, (route,))
        yield Reading(its.GUARANTEE_ALARM, report.log_alarm, (route,))
        low, high = report.risk_bounds
        for bound, value in (("target", report.alpha), ("lower", low), ("upper", high)):
            yield Reading(its.GUARANTEE_RISK, value, (route, bound))
        for signal, seen in report.drift.items():
            if seen.psi is not None and seen.ks is not None:
                yield Reading(its.SIGNAL_PSI, seen.psi, (route, signal))
                yield Reading(its.SIGNAL_KS, seen.ks, (route, signal))
    for end, number in control.shadows.ends.items():
        yield Reading(its.SHADOW_ENDS, number, (end,))


def shadow_verdict(report: ShadowReport, agree_at: float) -> str:
    """A bounded label for a shadow; `agree_at` as in the settings of the watch."""
    if report.score is not None:
        return "agrees" if report.score >= agree_at else "differs"
    return "would_escalate" if report.would_accept is False else "unknown"
