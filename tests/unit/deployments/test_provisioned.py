"""Replicas are counted as Serve tells them, and what cannot be stored is stored later."""

import asyncio
from types import SimpleNamespace

import pytest
from ray.serve._private.common import ReplicaState
from ray.serve.exceptions import RayServeException

from serve_app.core import LedgerError
from serve_app.deployments.provisioned import ProvisionedSampler, replica_counts

S = 10**9


def status(**deployments):
    named = {name: SimpleNamespace(replica_states=states) for name, states in deployments.items()}
    return SimpleNamespace(applications={"headrace": SimpleNamespace(deployments=named)})


def test_replicas_that_hold_resources_count_under_the_names_of_the_settings():
    states = {ReplicaState.RUNNING: 2, ReplicaState.STARTING: 1, ReplicaState.STOPPING: 1, ReplicaState.STOPPED: 4}
    assert replica_counts(status(Specialists=states, Ledger={ReplicaState.RUNNING: 1}), "headrace") == {
        "specialists": 4,
        "ledger": 1,
    }
    assert replica_counts(status(), "other") == {}


class Sums:
    """Keeps what it is given, unless it is away."""

    def __init__(self) -> None:
        self.replica_ns = 0
        self.away = False

    async def add(self, times) -> None:
        if self.away:
            raise LedgerError("The database is away.")
        self.replica_ns += sum(time.replica_ns for time in times)


@pytest.fixture
def clock():
    return SimpleNamespace(now_ns=0)


async def test_what_cannot_be_stored_is_stored_later_and_once(clock, caplog):
    sums = Sums()
    sampler = ProvisionedSampler(sums, lambda: {"fallback": 2}, every_s=10, now_ns=lambda: clock.now_ns)
    for away in (False, True, True, False):
        sums.away = away
        await sampler.sample()
        clock.now_ns += 10 * S
    await sampler.close()
    assert sums.replica_ns == 3 * 2 * 10 * S
    assert len(caplog.records) == 1


async def test_without_a_count_the_last_one_holds(clock):
    sums, answers = Sums(), [{"fallback": 1}, None, {"fallback": 1}]

    def count():
        answer = answers.pop(0)
        if answer is None:
            raise RayServeException("no controller")
        return answer

    sampler = ProvisionedSampler(sums, count, every_s=10, now_ns=lambda: clock.now_ns)
    for _ in range(3):
        await sampler.sample()
        clock.now_ns += 10 * S
    assert sums.replica_ns == 20 * S


async def test_it_runs_until_it_is_cancelled():
    counted = asyncio.Event()
    loop = asyncio.get_running_loop()

    def count():
        loop.call_soon_threadsafe(counted.set)
        return {}

    task = asyncio.create_task(ProvisionedSampler(Sums(), count, every_s=0.001).run())
    await counted.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
