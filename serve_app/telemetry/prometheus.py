"""Figures of one replica as a page in Prometheus' text format, in a registry of its own."""

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from serve_app.telemetry.instruments import ALL, Instrument


class PrometheusInstruments:
    """Implements `Instruments`."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._metrics: dict[Instrument, Any] = {one: self._made(one) for one in ALL}
        self._children: dict[tuple[Instrument, tuple[str, ...]], Any] = {}
        """Looked up here much faster than by `labels`."""

    def add(self, instrument: Instrument, value: float, *labels: str) -> None:
        """See `Instruments`."""
        self._child(instrument, labels).inc(value)

    def set(self, instrument: Instrument, value: float, *labels: str) -> None:
        """See `Instruments`."""
        self._child(instrument, labels).set(value)

    def observe(self, instrument: Instrument, value: float, *labels: str) -> None:
        """See `Instruments`."""
        self._child(instrument, labels).observe(value)

    def page(self) -> tuple[bytes, str]:
        """The text, and its media type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST

    def _child(self, instrument: Instrument, labels: tuple[str, ...]) -> Any:
        child = self._children.get((instrument, labels))
        if child is None:
            metric = self._metrics[instrument]
            child = self._children[instrument, labels] = metric.labels(*labels) if labels else metric
        return child

    def _made(self, one: Instrument) -> Counter | Gauge | Histogram:
        if one.kind == "counter":
            return Counter(one.full_name, one.help, one.labels, registry=self._registry)
        if one.kind == "gauge":
            return Gauge(one.full_name, one.help, one.labels, registry=self._registry)
        return Histogram(one.full_name, one.help, one.labels, buckets=one.buckets, registry=self._registry)
