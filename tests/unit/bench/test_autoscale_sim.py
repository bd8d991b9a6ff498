"""The autoscaling simulator: no query is lost or answered twice, GPU time is counted, and the peer is Ray's own."""

import dataclasses

import numpy as np
import pytest
from ray.serve import autoscaling_policy as ray_policy

from bench.autoscale_sim import SHAPES, interval, ours, rays
from bench.scaling import policies
from bench.scaling.run import MakePolicy, Run
from bench.scaling.traces import KINDS, Trace, draw

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(autouse=True)
def real_clock():
    """The simulation gives Serve's module its own clock."""
    before = ray_policy.time
    yield
    ray_policy.time = before


def alone(at_s: float, escalates: bool) -> Trace:
    return Trace("one", 60.0, *(np.array([value]) for value in (at_s, 10, 80, escalates)))


@pytest.mark.parametrize("make", [ours(SHAPES), rays(policies.RayKnobs())])
@pytest.mark.parametrize("escalates", [False, True])
def test_one_query_waits_for_its_tokens_and_nothing_else(make: MakePolicy, escalates: bool) -> None:
    outcome = Run(alone(1.0, escalates), SHAPES, 5.0).play(make)
    small_s = (3 + 24) * (0.0166 + 0.00085)
    large_s = (3 + 1) * (0.043 + 0.0022) if escalates else 0.0
    assert outcome.p50_s == pytest.approx(small_s + large_s, rel=0.01)
    assert outcome.gpu_hours == pytest.approx((60 + 120) * 1.5 / 3600)  # a replica of each, to the end
    assert (outcome.attainment, outcome.scalings) == (1.0, 0)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_query_of_a_trace_is_answered(kind: str) -> None:
    trace = draw(kind, 0, 300)
    assert trace.at_s.min(initial=0) >= 0 and trace.at_s.max(initial=0) < 300
    run = Run(trace, SHAPES, 5.0)
    outcome = run.play(ours(SHAPES))
    assert outcome.queries == len(trace.at_s)
    assert outcome.p99_s < 300
    assert all(node.ongoing == 0 for node in run.nodes.values())


def test_a_replica_that_drains_ends_its_calls_first() -> None:
    run = Run(draw("steady", 1, 60), SHAPES, 5.0)

    def scatter(now_s: float) -> dict[str, int]:
        return {name: 1 + int(now_s * 7) % 4 for name in SHAPES}

    run.play(lambda *_: scatter)
    assert all(np.isfinite(run._first_s))


def test_a_cold_fallback_is_waited_for_or_the_small_answer_is_given() -> None:
    zero = SHAPES | {"Fallback": dataclasses.replace(SHAPES["Fallback"], min_replicas=0)}
    waits = Run(alone(1.0, True), zero, 5.0, cold="wait").play(ours(zero))
    small = Run(alone(1.0, True), zero, 5.0, cold="accept_small").play(ours(zero))
    assert (waits.accepted_cold, small.accepted_cold) == (0, 1)
    assert waits.p50_s > SHAPES["Fallback"].start_s > small.p50_s


def test_the_peer_is_ray_s_own_policy_function(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []
    real = ray_policy.default_autoscaling_policy
    monkeypatch.setattr(
        policies.ray_policy, "default_autoscaling_policy", lambda ctx: asked.append(ctx.current_time) or real(ctx)
    )
    Run(alone(1.0, False), SHAPES, 5.0).play(rays(policies.RayKnobs()))
    assert len(asked) == 2 * 180


def test_an_interval_over_seeds_is_student_s() -> None:
    assert interval([1.0, 2.0, 3.0]) == pytest.approx({"mean": 2.0, "half_width": 2.484}, abs=0.001)
