"""AdapterFollower between a scripted registry, a scripted store and a fake engine, on a clock that the test sets."""

import asyncio
import doctest
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.adapters import AdapterManifest, AdapterSpec
from serve_app.adapters.registry.kept import KeptSnapshot
from serve_app.adapters.registry.records import RegistrySnapshot, ServedAdapter, ServedVersion
from serve_app.core import AdapterError, EngineError, LedgerError, ModelNotFound
from serve_app.engines import following
from serve_app.engines.fake import FakeEngine
from serve_app.engines.following import AdapterFollower, Timing
from tests.properties import examples
from tests.unit.engines.calls import ask, read


def digest_of(version: str) -> str:
    return version * 4


def adapter(name, live=None, *others, canary=None, pinned=False):
    """What the registry serves under a name: the live version, the canary and staged ones."""
    held = [one for one in (live, canary, *others) if one is not None]
    versions = tuple(ServedVersion(one, digest_of(one)) for one in held)
    return ServedAdapter(name, live, canary, 0.1 if canary else 0.0, pinned, versions)


class Registry:
    """A RegistrySource whose snapshot the test sets; away while `error` is set."""

    def __init__(self) -> None:
        self.snapshot = RegistrySnapshot()
        self.error: LedgerError | None = None
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.asked: list[int] = []

    def set(self, *adapters: ServedAdapter) -> None:
        self.snapshot = RegistrySnapshot(self.snapshot.revision + 1, adapters)

    async def adapters_since(self, revision: int) -> RegistrySnapshot | None:
        self.asked.append(revision)
        snapshot = self.snapshot
        await self.may_answer.wait()
        if self.error is not None:
            raise self.error
        return None if snapshot.revision == revision else snapshot


class Store:
    """Artefacts, of which some cannot be had and some take long."""

    def __init__(self) -> None:
        self.broken: set[str] = set()
        self.slow: dict[str, asyncio.Event] = {}
        self.fetched: list[str] = []
        self.kept: set[str] = set()

    def keep(self, digests) -> None:
        self.kept = set(digests)

    async def fetch(self, digest: str) -> Path:
        self.fetched.append(digest[: len(digest) // 4])
        if digest in self.slow:
            await self.slow[digest].wait()
        await asyncio.sleep(0)
        if digest in self.broken:
            raise AdapterError("the store is away")
        return Path(digest[: len(digest) // 4])


class Host(FakeEngine):
    """Believes that a folder's name is the version of what lies there, and notes in which order things are done."""

    def read_adapter(self, folder: Path, name: str, base_override: bool) -> AdapterSpec:
        return AdapterSpec(name, folder.name, folder, 4, 8, False, (), None, None, False, AdapterManifest())

    async def pin_version(self, version, pinned=True) -> None:
        self.__dict__.setdefault("done", []).append(("pin" if pinned else "unpin", version))
        await super().pin_version(version, pinned)

    async def set_live(self, names) -> None:
        self.__dict__.setdefault("done", []).append(("live", dict(names)))
        await super().set_live(names)


class World:
    def __init__(self, started_with=None, **timing) -> None:
        self.now_s = 0.0
        self.registry, self.store = Registry(), Store()
        self.host = Host(adapters=started_with or {}, model="small")
        self.kept: list[RegistrySnapshot] = []
        self.follower = AdapterFollower(
            self.host,
            self.registry,
            self.store,
            started_with or {},
            self.kept.append,
            Timing(**timing),
            lambda: self.now_s,
        )

    @property
    def live(self):
        return dict(self.host.adapters)

    async def has(self, name, version) -> bool:
        try:
            deltas = await read(self.host, replace(ask(adapter=name), adapter_version=version))
        except ModelNotFound:
            return False
        return {delta.adapter_version for delta in deltas} == {version}


def test_examples_in_the_docstrings_hold():
    result = doctest.testmod(following)
    assert result.attempted and not result.failed


async def test_host_gets_what_the_registry_has_and_loses_what_it_has_no_more_after_a_grace():
    world = World(grace_s=30)
    world.registry.set(adapter("law", "v1", "v3", canary="v2"), adapter("code", "c1"))
    await world.follower.now()
    assert world.live == {"law": "v1", "code": "c1"}
    assert [await world.has("law", one) for one in ("v1", "v2", "v3")] == [True] * 3
    assert world.store.fetched[:2] == ["v1", "c1"], "those that are live first"
    world.registry.set(adapter("law", "v2"), adapter("code"))
    await world.follower.now()
    assert world.live == {"law": "v2"}
    world.now_s = 29.9
    await world.follower.now()
    assert await world.has("law", "v1") and await world.has("code", "c1"), "callers may lag behind"
    assert digest_of("v1") in world.store.kept
    world.now_s = 30.1
    await world.follower.now()
    assert [await world.has(*one) for one in (("law", "v1"), ("law", "v3"), ("code", "c1"))] == [False] * 3
    assert world.store.kept == {digest_of("v2")}
    assert world.follower.state == following.FollowState(2, {}, False)
    assert world.kept[-1] == world.registry.snapshot


async def test_version_that_is_wanted_again_within_the_grace_is_not_fetched_again():
    world = World(grace_s=30)
    for live in ("v1", "v2", "v1", "v2"):
        world.registry.set(adapter("law", live))
        await world.follower.now()
        world.now_s += 20
    assert sorted(world.store.fetched) == ["v1", "v2"]
    assert world.live == {"law": "v2"} and await world.has("law", "v1")


async def test_artefact_that_cannot_be_had_is_tried_again_and_holds_up_nobody(caplog):
    world = World()
    world.registry.set(adapter("law", "v1"))
    await world.follower.now()
    world.store.broken = {digest_of("v2")}
    world.store.slow = {digest_of("c1"): asyncio.Event()}
    world.registry.set(adapter("law", "v2"), adapter("code", "c1"), adapter("med", "m1"))
    now = asyncio.create_task(world.follower.now())
    while "med" not in world.live or not world.follower.state.failed:  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert world.live == {"law": "v1", "med": "m1"} and not now.done(), "a name keeps the version that it had"
    assert world.follower.state.failed == {"law@v2": "the store is away"}
    with pytest.raises(EngineError, match="law, version v2, cannot be loaded here: the store is away"):
        await world.follower.find("law", "v2", 5)
    with pytest.raises(EngineError, match="code, version c1, is not loaded here yet"):
        await world.follower.find("code", "c1", 0.01)
    world.store.slow[digest_of("c1")].set()
    await now
    assert world.live == {"law": "v1", "med": "m1", "code": "c1"}
    for seconds, num_tries in ((0.4, 1), (0.2, 2), (0.9, 2), (0.2, 3), (1.9, 3), (0.2, 4)):
        world.now_s += seconds
        await world.follower.now()
        assert world.store.fetched.count("v2") == num_tries, "each time it waits for twice as long"
    assert sum("law@v2 cannot be loaded" in line for line in caplog.messages) == 1
    world.now_s += 100
    assert await world.has("law", "v1")
    world.store.broken.clear()
    await world.follower.now()
    assert world.live["law"] == "v2" and not world.follower.state.failed


async def test_artefact_with_other_bytes_or_that_takes_too_long_is_not_served():
    world = World(fetch_s=0.01)
    world.store.slow = {digest_of("c1"): asyncio.Event()}
    broken = ServedAdapter("law", "v1", versions=(ServedVersion("v1", digest_of("v9")),))
    world.registry.set(broken, adapter("code", "c1"))
    await world.follower.now()
    failed = world.follower.state.failed
    assert failed.keys() == {"law@v1", "code@c1"} and not world.live
    assert "version v9" in failed["law@v1"] and failed["code@c1"] == "it takes too long to fetch"


async def test_unknown_version_is_followed_at_once_and_a_version_nobody_has_is_left_to_the_host():
    world = World()
    await world.follower.now()
    assert not world.follower.serves("law", "v1") and not world.follower.serves("law", None)
    world.registry.set(adapter("law", "v1"))
    await asyncio.gather(*(world.follower.find("law", version, 5) for version in ("v1", None, "v1", "v1")))
    assert world.follower.serves("law", "v1") and world.follower.serves("law", None)
    assert len(world.registry.asked) == 3, "those who ask while the first is being answered share the next answer"
    await world.follower.find("law", "v2", 5)
    assert not world.follower.serves("law", "v2") and not await world.has("law", "v2")
    world.registry.error = LedgerError("away")
    with pytest.raises(EngineError, match="the registry cannot be asked"):
        await world.follower.find("law", "v2", 0.05)


async def test_version_that_a_caller_heard_of_just_before_the_registry_went_away_is_found_when_it_is_back():
    world = World(follow_s=0.01)
    world.registry.set(adapter("law", "v1"))
    await world.follower.now()
    world.registry.set(adapter("law", "v2"))
    world.registry.error = LedgerError("away")
    num_asked = len(world.registry.asked)
    finding = asyncio.create_task(world.follower.find("law", "v2", 60))
    while len(world.registry.asked) < num_asked + 2:  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert not finding.done()
    world.registry.error = None
    await finding
    assert world.follower.serves("law", "v2") and world.live == {"law": "v2"}


async def test_question_begun_before_a_change_does_not_answer_for_it():
    world = World()
    world.registry.may_answer.clear()
    early = asyncio.create_task(world.follower.now())
    while not world.registry.asked:  # noqa: ASYNC110
        await asyncio.sleep(0)
    world.registry.set(adapter("law", "v1"))
    late = [asyncio.create_task(world.follower.find("law", "v1", 5)) for _ in range(9)]
    late[0].cancel()
    world.registry.may_answer.set()
    await asyncio.gather(early, *late[1:])
    assert world.follower.serves("law", "v1") and len(world.registry.asked) == 2


async def test_registry_that_is_away_changes_nothing_and_is_asked_for_all_when_it_is_back(caplog):
    world = World()
    world.registry.set(adapter("law", "v1"))
    await world.follower.now()
    world.registry.error = LedgerError("the database is away")
    for _ in range(3):
        await world.follower.now()
    assert world.follower.state.registry_away and world.live == {"law": "v1"}
    assert sum("away" in line for line in caplog.messages) == 1
    world.registry.error, world.registry.snapshot = None, RegistrySnapshot(1, (adapter("code", "c1"),))
    await world.follower.now()
    assert world.registry.asked[-1] == -1, "it may have another database now"
    assert world.live == {"code": "c1"} and not world.follower.state.registry_away


async def test_pinned_version_is_pinned_before_it_is_live_and_the_one_before_only_then_unpinned():
    world = World()
    world.registry.set(adapter("law", "v1", pinned=True), adapter("code", "c1"))
    await world.follower.now()
    world.registry.set(adapter("law", "v1", canary="v2", pinned=True), adapter("code", "c1"))
    await world.follower.now()
    world.host.done.clear()
    world.registry.set(adapter("law", "v2", pinned=True), adapter("code", "c1"))
    await world.follower.now()
    assert world.host.done == [("pin", "v2"), ("live", {"law": "v2", "code": "c1"}), ("unpin", "v1")]
    world.host.done.clear()
    world.registry.set(adapter("law", "v2"), adapter("code", "c1", pinned=True))
    await world.follower.now()
    assert world.host.done == [("pin", "c1"), ("unpin", "v2")] and world.host.pinned == {"c1"}


async def test_adapters_of_the_settings_stay_until_the_registry_knows_their_names(tmp_path):
    world = World({"law": "v1", "own": "o1"})
    await world.follower.begin(lambda: None, 5)
    assert world.live == {"law": "v1", "own": "o1"}
    world.registry.set(adapter("law", "v2"))
    await world.follower.now()
    assert world.live == {"law": "v2", "own": "o1"}
    world.registry.set(adapter("law", "v2"), adapter("own"))
    await world.follower.now()
    assert world.live == {"law": "v2"}


async def test_replica_that_starts_while_the_registry_is_away_takes_the_snapshot_that_its_node_kept(tmp_path):
    kept = KeptSnapshot(tmp_path / "adapters" / "registry.json")
    world = World({"own": "o1"})
    world.registry.error = LedgerError("away")

    def load():
        return one.snapshot if (one := kept.load()) else None

    await world.follower.begin(load, 5)
    assert world.live == {"own": "o1"} and world.follower.state.revision == -1
    kept.save(RegistrySnapshot(7, (adapter("law", "v1", canary="v2", pinned=True),)))
    world = World({"own": "o1"})
    world.registry.may_answer.clear()
    await world.follower.begin(load, 0.01)
    assert world.live == {"law": "v1", "own": "o1"} and world.follower.state.revision == 7
    world.registry.may_answer.set()
    world.registry.set(adapter("law", "v3"))
    await world.follower.now()
    assert world.live == {"law": "v3", "own": "o1"} and world.registry.asked == [-1, -1]


async def test_following_goes_on_by_itself():
    world = World(follow_s=0.001)
    task = asyncio.create_task(world.follower.run())
    world.registry.set(adapter("law", "v1"))
    async with asyncio.timeout(60):
        while not world.live:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


names = st.sampled_from(["law", "code", "med"])
served = st.builds(
    lambda name, digits, pinned: (name, digits, pinned),
    names,
    st.lists(st.sampled_from("123"), max_size=3, unique=True),
    st.booleans(),
)
steps = st.tuples(
    st.lists(served, max_size=3, unique_by=lambda one: one[0]),
    st.sets(st.sampled_from("123")),
    st.booleans(),
    st.integers(0, 40),
)


@given(st.lists(steps, min_size=1, max_size=8), st.booleans())
@settings(deadline=None, max_examples=examples(150))
def test_after_any_snapshots_the_host_is_as_the_last_one_says_and_no_call_was_cut(script, with_own):
    async def run():
        world = World({"own": "o1"} if with_own else {}, grace_s=30)
        world.host.default = "one two three four"
        begun = []
        for adapters, broken, is_away, seconds in script:
            world.registry.set(
                *(
                    adapter(name, *(f"{name[0]}{digit}" for digit in digits), pinned=pinned)
                    for name, digits, pinned in adapters
                )
            )
            world.store.broken = {digest_of(f"{name}{digit}") for name in "lcm" for digit in broken}
            world.registry.error = LedgerError("away") if is_away else None
            world.now_s += seconds
            await world.follower.now()
            for name, version in world.live.items():
                stream = world.host.generate(ask(adapter=name))
                begun.append((version, stream, [await anext(stream)]))
            follows = world.follower.state.revision == world.registry.snapshot.revision
            if follows and not world.follower.state.failed:
                assert all(world.live[one.name] == one.live for one in world.registry.snapshot.adapters if one.live)
        world.store.broken, world.registry.error = set(), None
        for _ in range(2):
            world.now_s += 100
            await world.follower.now()
        last = world.registry.snapshot.adapters
        own = {"own": "o1"} if with_own else {}
        assert world.live == own | {one.name: one.live for one in last if one.live}
        expected = {(one.name, each.version) for one in last for each in one.versions} | set(own.items())
        assert world.host._held | set(world.host.adapters.items()) == expected
        assert world.host.pinned == {one.live for one in last if one.pinned and one.live}
        assert not world.follower.state.failed
        for version, stream, deltas in begun:
            deltas += [delta async for delta in stream]
            assert {delta.adapter_version for delta in deltas} == {version} and deltas[-1].finish_reason == "stop"

    asyncio.run(run())
