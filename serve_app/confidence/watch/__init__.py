"""Is the guarantee still kept? Watches a deployed cascade: a sequential test of its risk, and drift of its signals.

Pure: no clock, no engine, no threads. Its memory is bounded by routes, signals and the window.
"""

from serve_app.confidence.watch.drift import PSI_MAJOR, PSI_MODERATE, Drift, SignalWindow
from serve_app.confidence.watch.reference import Reference, reference_of
from serve_app.confidence.watch.sampling import chosen
from serve_app.confidence.watch.sequential import RiskTest, risk_interval
from serve_app.confidence.watch.watch import CONFIDENCE, Action, Audit, RouteReport, State, Watch

__all__ = [
    "CONFIDENCE",
    "PSI_MAJOR",
    "PSI_MODERATE",
    "Action",
    "Audit",
    "Drift",
    "Reference",
    "RiskTest",
    "RouteReport",
    "SignalWindow",
    "State",
    "Watch",
    "chosen",
    "reference_of",
    "risk_interval",
]
