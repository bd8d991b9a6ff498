"""What the tests of telemetry share."""

import pytest

from tests.unit.telemetry.memory import MemoryInstruments


@pytest.fixture
def memory() -> MemoryInstruments:
    return MemoryInstruments()
