"""The simulated replicas: all calls are answered, also those of a replica that dies, and affinity saves loads."""

import random

import pytest

from bench.affinity.simulate import Scenario, Speeds, affinity, play, power_of_two
from serve_app.affinity import Aims

SPEEDS = Speeds(step_s=0.015, row_s=0.001, slowed=1.4, calls_per_s=11.0)


@pytest.mark.parametrize("scenario", [Scenario(60, 3), Scenario(60, 3, shift_at=0.5), Scenario(60, 3, lose_at=0.5)])
def test_every_call_is_answered_and_fewer_adapters_are_loaded(scenario: Scenario) -> None:
    ways = {"ours": affinity(random.Random(1), Aims()), "serve": power_of_two(random.Random(1))}
    found = {name: play(scenario, way, 1, 400, 0.1, SPEEDS) for name, way in ways.items()}
    assert found["ours"]["answered"] == found["serve"]["answered"] == 1
    assert found["ours"]["hit_rate"] > found["serve"]["hit_rate"]


def test_the_measured_speeds_can_be_read() -> None:
    speeds = Speeds.read()
    assert speeds.slowed > 1 and 0 < speeds.row_s < speeds.step_s
