"""To which nodes drainers go, how long they stay, and what their end means; no Ray."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from ray.exceptions import ActorDiedError, RayError, RayTaskError

from serve_app.core import ConfigError, LedgerError
from serve_app.deployments.drainer import Drained, DrainerKeeper, Survey
from serve_app.deployments.paths import folder_here, journals_path


class Cluster:
    """Nodes as a survey tells of them, and the journals on each; its drainers adopt one journal a round."""

    def __init__(self, **journals: int) -> None:
        self.journals, self.with_gateway = journals, set[str]()
        self.sent: list[str] = []
        self.here: list[str] = []
        """Nodes with a drainer now."""
        self.fault: Exception | None = None
        self.num_looks = self.num_lost = 0
        self.now_s = 0.0

    def look(self) -> Survey:
        self.num_looks += 1
        return Survey(frozenset(self.journals), frozenset(self.with_gateway))

    def send(self, node: str) -> "Visitor":
        self.sent.append(node)
        return Visitor(self, node)

    def lost(self, num_lost: int) -> None:
        self.num_lost += num_lost

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not true():  # noqa: ASYNC110 - a plain figure has no event
                await asyncio.sleep(0)

    async def some_looks(self) -> None:
        first = self.num_looks
        await self.until(lambda: self.num_looks >= first + 5)


class Visitor:
    def __init__(self, cluster: Cluster, node: str) -> None:
        self._cluster, self._node = cluster, node
        cluster.here.append(node)

    def close(self) -> None:
        self._cluster.here.remove(self._node)

    async def drain(self) -> Drained:
        await asyncio.sleep(0)
        if self._cluster.fault:
            raise self._cluster.fault
        journals = self._cluster.journals
        num_lost = min(1, journals[self._node])
        journals[self._node] -= num_lost
        return Drained(0, num_lost, journals[self._node])


@asynccontextmanager
async def kept(cluster: Cluster) -> AsyncIterator[None]:
    keeper = DrainerKeeper(cluster.send, cluster.lost, cluster.look, 0.0, 0.0, lambda: cluster.now_s)
    task = asyncio.create_task(keeper.run())
    try:
        yield
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_every_node_without_a_gateway_is_drained_once_and_left_again() -> None:
    cluster = Cluster(a=2, b=0, c=3)
    cluster.with_gateway = {"c"}
    async with kept(cluster):
        await cluster.until(lambda: cluster.journals["a"] == 0 and not cluster.here)
        await cluster.some_looks()
        assert sorted(cluster.sent) == ["a", "b"]
        assert cluster.num_lost == 2


async def test_a_node_that_lost_its_gateway_is_drained_at_once() -> None:
    cluster = Cluster(a=1)
    cluster.with_gateway = {"a"}
    async with kept(cluster):
        await cluster.some_looks()
        assert not cluster.sent
        cluster.with_gateway = set()
        await cluster.until(lambda: cluster.journals["a"] == 0)


async def test_a_drainer_goes_where_a_gateway_has_come_to_adopt_by_itself() -> None:
    cluster = Cluster(a=1)
    cluster.fault = LedgerError("the database is away")
    async with kept(cluster):
        await cluster.until(lambda: cluster.here == ["a"])
        cluster.with_gateway = {"a"}
        await cluster.until(lambda: not cluster.here)


@pytest.mark.parametrize(
    "fault",
    [LedgerError("the database is away"), RayTaskError("drain", "OSError: the database is away", OSError("away"))],
)
async def test_a_drainer_stays_while_the_ledger_takes_nothing_and_says_so_once(
    fault: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    cluster = Cluster(a=1)
    cluster.fault = fault
    async with kept(cluster):
        await cluster.some_looks()
        assert cluster.sent == cluster.here == ["a"]
        cluster.fault = None
        await cluster.until(lambda: not cluster.here)
    (said,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert said.startswith("Journals on node a are not adopted yet: ")
    assert said.endswith("the database is away")


async def test_a_drainer_that_died_is_sent_again() -> None:
    cluster = Cluster(a=1)
    cluster.fault = ActorDiedError()
    async with kept(cluster):
        await cluster.until(lambda: len(cluster.sent) >= 2)
        cluster.fault = None
        await cluster.until(lambda: cluster.journals["a"] == 0)


async def test_a_node_that_comes_later_is_drained_and_an_empty_one_is_visited_again_some_time() -> None:
    cluster = Cluster()
    async with kept(cluster):
        await cluster.some_looks()
        cluster.journals["late"] = 1
        await cluster.until(lambda: cluster.journals["late"] == 0 and not cluster.here)
        cluster.journals["late"] = 1  # of a gateway that nobody saw
        await cluster.some_looks()
        assert cluster.sent == ["late"]
        cluster.now_s += 901
        await cluster.until(lambda: cluster.journals["late"] == 0)


async def test_a_node_without_the_folders_variable_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    cluster = Cluster(a=0)
    cluster.fault = ConfigError("not set")
    async with kept(cluster):
        await cluster.until(lambda: cluster.sent == ["a"] and not cluster.here)
        await cluster.some_looks()
    assert cluster.sent == ["a"]
    assert "Node a has no folder of journals: not set" in caplog.text


async def test_a_cluster_that_cannot_be_listed_is_looked_at_again() -> None:
    cluster = Cluster(a=1)
    look = cluster.look

    def away() -> Survey:
        cluster.look = look  # type: ignore[method-assign]
        raise RayError("no answer")

    cluster.look = away  # type: ignore[method-assign]
    keeper = DrainerKeeper(cluster.send, cluster.lost, lambda: cluster.look(), 0.0, 0.0)
    task = asyncio.create_task(keeper.run())
    await cluster.until(lambda: cluster.journals["a"] == 0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_folder_may_begin_with_a_variable_of_the_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from serve_app.config.ledger import JournalSettings, LedgerSettings

    text = journals_path(LedgerSettings(journal=JournalSettings(folder="$HEADRACE_DISK/journals")))
    monkeypatch.setenv("HEADRACE_DISK", str(tmp_path))
    assert folder_here(text) == tmp_path / "journals"
    monkeypatch.delenv("HEADRACE_DISK")
    with pytest.raises(ConfigError, match=r"HEADRACE_DISK.*set its environment variables"):
        folder_here(text)
