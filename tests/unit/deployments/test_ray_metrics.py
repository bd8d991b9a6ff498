"""Figures as `ray.util.metrics` gets them; what Ray makes of them is tested with two gateways in tests/ray."""

import asyncio
from typing import Any

import pytest

from serve_app.core import Answer
from serve_app.deployments import ray_metrics
from serve_app.deployments.ray_metrics import RayInstruments, keep_sampling
from serve_app.gateway import PrometheusMetrics
from serve_app.telemetry import instruments as its


class Recorded:
    """Stands for a metric of Ray: keeps what it is told, and refuses what Ray refuses."""

    def __init__(self, name: str, description: str, *rest: Any) -> None:
        self.name, self.told = name, []
        self.tag_keys = set(rest[-1] if rest else ())

    def _note(self, value: float, tags: dict[str, str]) -> None:
        assert set(tags) == self.tag_keys
        self.told.append((value, tags))

    def inc(self, value: float, tags: dict[str, str]) -> None:
        assert value > 0
        self._note(value, tags)

    def set(self, value: float, tags: dict[str, str]) -> None:
        self._note(value, tags)

    observe = set


@pytest.fixture
def recorded(monkeypatch):
    """Ray's metrics, by name, of instruments made after this."""
    made: dict[str, Recorded] = {}

    def make(name: str, description: str, *rest: Any) -> Recorded:
        made[name] = Recorded(name, description, *rest)
        return made[name]

    for kind in ("Counter", "Gauge", "Histogram"):
        monkeypatch.setattr(ray_metrics, kind, make)
    return made


def test_gauges_name_their_replica_and_are_told_at_every_sample(recorded):
    metrics = PrometheusMetrics(None, RayInstruments("g1"))
    metrics.started()
    metrics.started()
    metrics.sample()
    metrics.finished(Answer("q1", 0.0, "auto", "accepted", (), ms=20.0, cost_nusd=5))
    metrics.sample()
    metrics.sample()
    told = recorded["headrace_queries_in_flight"].told
    assert told == [(2, {"replica": "g1"}), (1, {"replica": "g1"}), (1, {"replica": "g1"})]
    assert recorded["headrace_queries"].told == [(1, {"model": "auto", "route": "none", "outcome": "accepted"})]
    assert recorded["headrace_query_seconds"].told == [(0.02, {"model": "auto"})]


def test_nothing_is_added_to_a_counter_where_ray_refuses_zero(recorded):
    RayInstruments("g1").add(its.TOKENS, 0, "specialists", "prompt")
    assert recorded["headrace_tokens"].told == []


def test_all_metrics_are_taken_by_ray_itself():
    instruments = RayInstruments("g1")
    for one in its.ALL:
        labels = ("x",) * len(one.labels)
        tell = {"counter": instruments.add, "gauge": instruments.set, "histogram": instruments.observe}[one.kind]
        tell(one, 1.0, *labels)


async def test_states_are_brought_to_ray_until_the_end(recorded):
    metrics, sampled = PrometheusMetrics(None, RayInstruments("g1")), asyncio.Event()
    calls: list[None] = []

    def source() -> list[Any]:
        calls.append(None)
        if len(calls) == 3:
            sampled.set()
        return []

    metrics.watch(source)
    task = asyncio.create_task(keep_sampling(metrics, every_s=0.0))
    async with asyncio.timeout(10):
        await sampled.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
