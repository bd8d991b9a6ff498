"""The state of the cascade's guarantee as metrics, read off when somebody asks."""

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from serve_app.patterns import CascadeControl
from serve_app.patterns.shadow import ShadowReport

_STATES = ("ok", "drifting", "breached")


class GuaranteeCollector(Collector):
    """Per route: state, audits, evidence, bounds of the risk, drift of signals; and what became of shadows."""

    def __init__(self, control: CascadeControl) -> None:
        self._control = control

    def collect(self) -> Iterable[Metric]:
        """Called by the registry, in the event loop's thread."""
        state = GaugeMetricFamily("headrace_guarantee_state", "1 for the state of a route.", labels=("route", "state"))
        epoch = GaugeMetricFamily(
            "headrace_guarantee_epoch", "How often a breach has tightened the threshold.", labels=("route",)
        )
        audited = GaugeMetricFamily(
            "headrace_guarantee_audits", "Audits since the threshold was last changed.", labels=("route", "verdict")
        )
        evidence = GaugeMetricFamily(
            "headrace_guarantee_log_e_value",
            "Evidence that the risk is above its target; natural logarithm.",
            labels=("route",),
        )
        alarm = GaugeMetricFamily(
            "headrace_guarantee_log_alarm", "The log e-value at which a route counts as breached.", labels=("route",)
        )
        risk = GaugeMetricFamily("headrace_guarantee_risk", "Target, and bounds by audits.", labels=("route", "bound"))
        drift = GaugeMetricFamily(
            "headrace_signal_psi", "Population stability index against the fitting data.", labels=("route", "signal")
        )
        distance = GaugeMetricFamily(
            "headrace_signal_ks", "Kolmogorov-Smirnov distance to the fitting data.", labels=("route", "signal")
        )
        for label, report in self._control.report().items():
            route = label or "none"
            for name in _STATES:
                state.add_metric((route, name), float(report.state == name))
            epoch.add_metric((route,), report.epoch)
            audited.add_metric((route, "wrong"), report.num_wrong)
            audited.add_metric((route, "right"), report.num_audited - report.num_wrong)
            audited.add_metric((route, "not_scored"), report.num_not_scored)
            audited.add_metric((route, "stale"), report.num_stale)
            evidence.add_metric((route,), report.log_e_value)
            alarm.add_metric((route,), report.log_alarm)
            low, high = report.risk_bounds
            for bound, value in (("target", report.alpha), ("lower", low), ("upper", high)):
                risk.add_metric((route, bound), value)
            for signal, seen in report.drift.items():
                if seen.psi is not None and seen.ks is not None:
                    drift.add_metric((route, signal), seen.psi)
                    distance.add_metric((route, signal), seen.ks)
        yield from (state, epoch, audited, evidence, alarm, risk, drift, distance)
        shadows = self._control.shadows
        ends = CounterMetricFamily("headrace_shadow_ends", "What became of background work.", labels=("end",))
        for end in ("finished", "dropped", "timed_out", "failed", "cancelled"):
            ends.add_metric((end,), getattr(shadows, f"num_{end}"))
        yield ends


def shadow_verdict(report: ShadowReport, agree_at: float) -> str:
    """A bounded label for a shadow; `agree_at` as in the settings of the watch."""
    if report.score is not None:
        return "agrees" if report.score >= agree_at else "differs"
    return "would_escalate" if report.would_accept is False else "unknown"
