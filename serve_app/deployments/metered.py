"""The gateway's metrics, with a second listener: what the fallback's autoscaling needs to know of queries."""

from serve_app.core import Answer
from serve_app.gateway import PrometheusMetrics
from serve_app.patterns import CascadeControl
from serve_app.scaling import EscalationMeter
from serve_app.telemetry.instruments import Instruments


class MeteredMetrics(PrometheusMetrics):
    """Tells the meter of each query too. One counts as escalated where the large model was asked, for any reason."""

    def __init__(self, meter: EscalationMeter, control: CascadeControl | None = None, *more: Instruments) -> None:
        super().__init__(control, *more)
        self._meter = meter

    def started(self) -> None:
        """See `Metrics`."""
        super().started()
        self._meter.arrived()

    def finished(self, answer: Answer) -> None:
        """See `Metrics`."""
        super().finished(answer)
        self._meter.decided(any(attempt.node == "fallback" for attempt in answer.attempts))
