"""The same figures through `ray.util.metrics`: every node's Ray agent exports those of all replicas on it, so that one
scrape of the nodes is the whole service, however many gateways there are.

What Ray makes of them (2.60): names begin with `ray_`, counters end with `_total`. A replica sends what it counted
every 10 s (`metrics_report_interval_ms`), so the last seconds of one that is killed are missing. Counters of a replica
that ended stay; its gauges go, like any that is not set again. Histograms keep their buckets, but `_sum` is made from
the buckets' middles.
"""

import asyncio
from typing import Any, Protocol

from ray.util.metrics import Counter, Gauge, Histogram

from serve_app.telemetry.instruments import ALL, Instrument

SAMPLE_EVERY_S = 5.0
"""Ray forgets a gauge that was not set for two of its intervals."""


class RayInstruments:
    """Implements `telemetry.instruments.Instruments`; needs a running Ray. Gauges carry the label `replica`."""

    def __init__(self, replica: str) -> None:
        """`replica` tells this process's gauges from those of the others."""
        self._replica = replica
        self._metrics: dict[Instrument, Any] = {one: _made(one) for one in ALL}

    def add(self, instrument: Instrument, value: float, *labels: str) -> None:
        """See `Instruments`."""
        if value:  # Ray refuses to add nothing
            self._metrics[instrument].inc(value, tags=dict(zip(instrument.labels, labels, strict=True)))

    def set(self, instrument: Instrument, value: float, *labels: str) -> None:
        """See `Instruments`."""
        tags = dict(zip(instrument.labels, labels, strict=True)) | {"replica": self._replica}
        self._metrics[instrument].set(value, tags=tags)

    def observe(self, instrument: Instrument, value: float, *labels: str) -> None:
        """See `Instruments`."""
        self._metrics[instrument].observe(value, tags=dict(zip(instrument.labels, labels, strict=True)))


class Sampled(Protocol):
    """Something that brings states to instruments, such as a gateway's `Metrics` or a `Sampler`."""

    def sample(self) -> None:
        """Now."""
        ...


async def keep_sampling(metrics: Sampled, every_s: float = SAMPLE_EVERY_S) -> None:
    """Bring states that nobody asks for to Ray, until cancelled."""
    while True:
        metrics.sample()
        await asyncio.sleep(every_s)


def _made(one: Instrument) -> Counter | Gauge | Histogram:
    if one.kind == "counter":
        return Counter(one.full_name, one.help, one.labels)
    if one.kind == "gauge":
        return Gauge(one.full_name, one.help, (*one.labels, "replica"))
    return Histogram(one.full_name, one.help, list(one.buckets), one.labels)
