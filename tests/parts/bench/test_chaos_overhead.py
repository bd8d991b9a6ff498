"""The chaos bench measures what keeping accounts adds, on gateways over sockets."""

from pathlib import Path

from bench.chaos import overhead


def test_a_short_measurement_of_the_overhead_stores_every_account(tmp_path: Path) -> None:
    figures = overhead.measure(tmp_path, overhead.Load(rate=50, seconds=0.2, rounds=1))
    assert set(figures["added"]) == {"local", "replicated"}
    assert set(figures["whole"]["off"]) == {"p50", "p99", "cpu", "process_cpu", "clients_late_p99"}
