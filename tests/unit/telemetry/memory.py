"""Instruments in a dictionary."""

from collections import defaultdict

from serve_app.telemetry.instruments import Instrument


class MemoryInstruments:
    """Implements `Instruments`: sums, levels and observations by name and labels."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, ...], float] = {}
        self.observed: dict[tuple[str, ...], list[float]] = defaultdict(list)

    def add(self, instrument: Instrument, value: float, *labels: str) -> None:
        key = (instrument.name, *labels)
        assert len(labels) == len(instrument.labels)
        assert instrument.kind == "counter" and value >= 0
        self.values[key] = self.values.get(key, 0.0) + value

    def set(self, instrument: Instrument, value: float, *labels: str) -> None:
        assert instrument.kind == "gauge"
        self.values[instrument.name, *labels] = value

    def observe(self, instrument: Instrument, value: float, *labels: str) -> None:
        assert instrument.kind == "histogram"
        self.observed[instrument.name, *labels].append(value)
