"""Two replicas of the specialists with more adapters than slots: calls go by adapter, spill, and survive a kill."""

import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import openai
import psutil
import pytest
from asking import eventually
from conftest import client, settings_file
from launching import Served, launch

pytestmark = pytest.mark.cluster

ADAPTERS = ("legal", "medical", "code")
SPARE = 3


@pytest.fixture(scope="module")
def placed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("affinity")
    two = {"num_cpus": 0.5, "min_replicas": 2, "max_replicas": 2, "target_ongoing_requests": SPARE}
    engine = {"engine": "headrace_placed:engine", "adapter_slots": 1, "max_context_tokens": 8192}
    config = settings_file(folder, specialists=engine, deployments={"specialists": two})
    path = os.pathsep.join([str(Path(__file__).parent / "scripted"), os.environ.get("PYTHONPATH", "")])
    served = launch("multi_lora", config, folder / "stderr.log", PYTHONPATH=path)
    yield served
    served.stop()


@pytest.fixture
def connected(placed: Served) -> Iterator[openai.OpenAI]:
    with client(placed) as one:
        yield one


def home(connected: openai.OpenAI, adapter: str) -> int:
    """Process that answers one call."""
    answer = connected.chat.completions.create(model=adapter, messages=[{"role": "user", "content": "hello"}])
    return int(answer.choices[0].message.content.split()[0])


def hold(connected: openai.OpenAI, adapter: str, held: ExitStack) -> int:
    """Process that answers one call, which goes on until `held` is closed."""
    stream = connected.chat.completions.create(
        model=adapter, messages=[{"role": "user", "content": "hold"}], stream=True
    )
    held.enter_context(stream)
    return next(int(delta) for chunk in stream if (delta := chunk.choices[0].delta.content or "").strip().isdigit())


def test_calls_of_one_adapter_go_to_one_replica(connected: openai.OpenAI) -> None:
    """Once the gateway has heard of both replicas."""
    for adapter in ADAPTERS:
        eventually(lambda adapter=adapter: len({home(connected, adapter) for _ in range(8)}) == 1)


def test_a_full_replica_spills_and_has_its_adapter_back_when_it_has_room(connected: openai.OpenAI) -> None:
    own = home(connected, "legal")
    with ExitStack() as held:
        where = Counter(hold(connected, "legal", held) for _ in range(8))
        assert len(where) == 2
        assert SPARE <= where[own] < 8
    eventually(lambda: home(connected, "legal") == own)


def test_nothing_is_lost_when_the_home_of_an_adapter_is_killed(connected: openai.OpenAI) -> None:
    own = home(connected, "legal")

    def ask_until_elsewhere() -> list[int]:
        found = [home(connected, "legal")]
        while found[-1] == own:
            found.append(home(connected, "legal"))
        return found

    with ThreadPoolExecutor(3) as pool:
        asking: list[Future[list[int]]] = [pool.submit(ask_until_elsewhere) for _ in range(3)]
        psutil.Process(own).kill()
        answered = [pid for one in asking for pid in one.result()]
    assert any(pid != own for pid in answered)
    for adapter in ADAPTERS:
        assert home(connected, adapter) != own
