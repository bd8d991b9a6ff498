"""From a client's query to a decision: a gateway with scripted versions, and the place that decides."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

from serve_app.adapters.registry import AdapterRegistry, AdapterVersion
from serve_app.canary import CanaryTrials
from serve_app.config.canary import CanarySettings
from serve_app.core import Call, Delta, EngineError, EngineInfo, TokenStat, Usage
from serve_app.engines.fake import FakeEngine
from serve_app.gateway import AdapterBook
from serve_app.store import Store
from tests.unit.registry_node import RegistryNode

LIVE, CANARY = "1" * 12, "2" * 12
SETTINGS = {
    "share": 1.0, "scorer": "exact", "min_pairs": 30, "margin": 0.1, "max_concurrent": 64,
    "max_cost_factor": 1.5, "max_latency_factor": 20.0,
}  # fmt: skip


@dataclass
class Versions:
    """An engine whose versions answer as told: version and question -> text; None: the call fails."""

    says: Callable[[str, int], str | None]
    logprob: Callable[[str], float] = lambda version: -0.05
    calls: list[Call] = field(default_factory=list)

    async def generate(self, call: Call) -> AsyncIterator[Delta]:
        self.calls.append(call)
        version = call.adapter_version or ""
        text = self.says(version, int(call.messages[-1].content.split()[-1]))
        if text is None:
            raise EngineError("the row failed")
        stat = TokenStat(1, text, self.logprob(version), 0.2, 3.0)
        yield Delta(text, (stat,), "stop", Usage(4, 0, 4), version)

    async def info(self) -> EngineInfo:
        return EngineInfo("versions", 2048)


class Service:
    """A gateway, its registry and the place that decides, in one process."""

    def __init__(self, world, book, store, settings):
        self.world, self.book, self.num_asked = world, book, 0
        self.registry, self.trials = AdapterRegistry(store), CanaryTrials(store, settings)
        world.ledger.adapters_evidence = self.trials.take
        world.services.registry = RegistryNode(self.registry, self.trials)
        self.canaries = world.services.canaries

    async def begin(self):
        for version, weight in ((LIVE, None), (CANARY, 0.5)):
            digest = version[0] * 64
            added = AdapterVersion("legal", version, digest, "staged", "upload", 8, 10, True, 1.0, "ada")
            await self.registry.add(added)
            if weight is None:
                await self.registry.promote("legal", version, "ada")
            else:
                await self.registry.canary("legal", version, weight, "ada")
        await self.follow()

    async def follow(self):
        self.book.take(await self.registry.snapshot())
        await self.trials.judge()

    async def ask(self, num_queries, model="legal"):
        for _ in range(num_queries):
            self.num_asked += 1
            await self.world.chat(f"contract question {self.num_asked}", model=model)
        shadows = self.canaries._shadows
        async with asyncio.timeout(30):
            while shadows.num_running:  # noqa: ASYNC110 - the count has no event
                await asyncio.sleep(0)
        await self.canaries.gatherer.send()
        await self.follow()

    async def ask_until_decided(self, most, model="legal"):
        """Queries it took, and who is live then; None: undecided."""
        while self.num_asked < most:
            await self.ask(20, model)
            (adapter,) = (await self.registry.snapshot()).adapters
            if adapter.canary is None:
                return self.num_asked, adapter.live
        return self.num_asked, None

    async def detail(self):
        return (await self.registry.audit(1))[0].detail


@pytest.fixture
async def make_service(make_world, tmp_path):
    stores = []

    async def make(small, large="right", **settings):
        store = Store(str(tmp_path / "r.sqlite3"))
        await store.open()
        stores.append(store)
        book = AdapterBook(("legal",), source=None)
        canary = {**SETTINGS, **settings}
        large = FakeEngine(default=large)
        world = make_world(small=small, large=large, book=book, overrides={"canary": canary})
        service = Service(world, book, store, CanarySettings.model_validate(canary))
        await service.begin()
        return service

    yield make
    for store in stores:
        await store.close()


def right_unless(wrong):
    """Versions that are right, but for the questions for which `wrong` says so."""
    return Versions(lambda version, number: "wrong" if wrong(version, number) else "right")


async def test_a_worse_canary_is_withdrawn(make_service):
    service = await make_service(right_unless(lambda version, number: version == CANARY and number % 2))
    num_asked, live = await service.ask_until_decided(600)
    assert (live, num_asked <= 300) == (LIVE, True)
    assert "surely below the allowed -0.1" in await service.detail()


async def test_an_equal_canary_is_promoted(make_service):
    service = await make_service(right_unless(lambda version, number: number % 10 == 0))
    _, live = await service.ask_until_decided(800)
    assert live == CANARY
    assert (await service.detail()).startswith("mean score +0.000 against the live version over ")


async def test_a_better_canary_is_promoted(make_service):
    service = await make_service(right_unless(lambda version, number: version != CANARY and number % 2))
    _, live = await service.ask_until_decided(800)
    assert live == CANARY


async def test_a_canary_that_fails_is_withdrawn_at_once(make_service):
    service = await make_service(Versions(lambda version, number: None if version == CANARY else "right"))
    num_asked, live = await service.ask_until_decided(200)
    assert (live, num_asked <= 80) == (LIVE, True)
    assert "share of failures +1.000" in await service.detail()


async def test_a_canary_that_escalates_all_is_as_good_and_too_dear(make_service):
    """Its clients get the large model's answers: the quality is there, at the large model's price."""
    small = Versions(lambda version, number: "right", lambda version: -3.0 if version == CANARY else -0.05)
    service = await make_service(small)
    _, live = await service.ask_until_decided(400, model="auto")
    assert live == LIVE
    assert (await service.detail()).startswith("cost x ")


async def test_what_only_reports_leaves_the_canary(make_service):
    service = await make_service(right_unless(lambda version, number: version == CANARY), automatic="off")
    await service.ask(100)
    report = (await service.world.http.get("/v1/adapters/legal")).json()["canary_trials"]
    assert (report["automatic"], report["earlier"]) == ("off", [])
    assert (report["running"]["canary"], report["running"]["verdict"]["decision"]) == (CANARY, "rollback")
    assert (await service.registry.snapshot()).adapters[0].canary == CANARY


async def test_the_comparisons_are_billed_as_shadows(make_service):
    service = await make_service(right_unless(lambda version, number: False))
    await service.ask(20)
    accounts = await service.world.accounts()
    shadows = [one for one in accounts if one.outcome == "shadow"]
    of_canary = [one for one in accounts if one.adapter_version == CANARY]
    assert len(shadows) == len(of_canary) > 0
    assert {one.shadow_of for one in shadows} == {one.query_id for one in of_canary}
    assert all(one.cost_nusd > 0 and one.key_id is None for one in shadows)


async def test_the_sample_is_of_the_canarys_conversations_and_each_counts_once(make_service):
    none = await make_service(right_unless(lambda version, number: False), share=0.0)
    await none.ask(20)
    assert not [one for one in await none.world.accounts() if one.outcome == "shadow"]
    trial = none.canaries.gatherer.trial("legal")
    assert trial.evidence.canary.num_queries > 0
    before = trial.evidence.canary.num_queries + trial.evidence.live.num_queries
    none.num_asked = 0
    await none.ask(20)
    assert trial.evidence.canary.num_queries + trial.evidence.live.num_queries == before


async def test_a_query_without_the_adapter_is_of_no_trial(make_service):
    service = await make_service(right_unless(lambda version, number: False))
    await service.ask(20, model="base")
    assert service.canaries.gatherer.trial("legal").sequence == 0


async def test_an_unknown_scorer_is_refused_by_its_section(make_world):
    with pytest.raises(Exception, match=r"canary\.scorer"):
        make_world(book=AdapterBook(("legal",), source=None), overrides={"canary": {"scorer": "numeric"}})
