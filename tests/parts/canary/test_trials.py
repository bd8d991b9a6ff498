"""Trials over a database: opened and closed with the registry, decided once, nothing lost at a restart."""

import asyncio

import pytest
from sqlalchemy import select

from serve_app.adapters.registry import AdapterRegistry, AdapterVersion
from serve_app.canary import CanaryTrials, EvidenceRecord, Outcome, TrialEvidence
from serve_app.canary.tables import canary_evidence
from serve_app.config.canary import CanarySettings
from serve_app.core import LedgerError
from serve_app.store import Store

SAME = Outcome(False, 1000, 100.0)
L, C, D = ("1" * 12, "2" * 12, "3" * 12)


class World:
    """A registry with a live version and a canary, and the place that decides."""

    def __init__(self, store, **settings):
        self.store, self.now_s = store, 1000.0
        self.registry = AdapterRegistry(store, clock=lambda: self.now_s)
        self.settings = CanarySettings(**settings)
        self.trials = self.restarted()
        self.sequence = 0

    def restarted(self):
        return CanaryTrials(self.store, self.settings, clock=lambda: self.now_s)

    async def add(self, version, name="legal"):
        digest = version[0] * 64
        await self.registry.add(
            AdapterVersion(name, version, digest, "staged", "upload", 8, 10, True, 1.0, "ada")
        )  # fmt: skip

    async def begin(self, name="legal"):
        await self.add(L, name)
        await self.registry.promote(name, L, "ada")
        await self.add(C, name)
        await self.registry.canary(name, C, 0.1, "ada")
        await self.trials.judge()

    async def send(self, evidence, gateway="g1", canary=C, live=L, since=99, name="legal", sequence=None):
        self.sequence += 1
        totals = evidence.model_dump(mode="json")
        sequence = self.sequence if sequence is None else sequence
        await self.trials.take([EvidenceRecord(gateway, name, canary, live, since, sequence, totals)])

    async def states(self, name="legal"):
        return {one.version: one.state for one in await self.registry.all(name)}

    async def evidence(self):
        """What counts for the trial that runs."""
        running = (await self.trials.report("legal"))["running"]
        return running["verdict"]["findings"][0]["num_pairs"]


def evidence(difference=0.0, num_pairs=200, failed=0):
    found = TrialEvidence()
    for _ in range(num_pairs):
        found.add_scores(0.5 + difference / 2, 0.5 - difference / 2)
        found.add_neighbours(SAME, SAME)
    for _ in range(failed):
        found.add_neighbours(Outcome(True), SAME)
    return found


@pytest.fixture(params=["sqlite", "postgres"])
async def store(request, tmp_path):
    url = str(tmp_path / "r.sqlite3") if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    opened = Store(url)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
async def world(store):
    made = World(store)
    await made.begin()
    return made


async def test_a_trial_begins_with_the_canary_and_waits(world):
    report = await world.trials.report("legal")
    assert (report["automatic"], report["earlier"]) == ("both", [])
    assert (report["running"]["canary"], report["running"]["live"], report["running"]["ended_by"]) == (C, L, None)
    assert report["running"]["verdict"]["decision"] is None
    assert await world.trials.report("unknown") == {"automatic": "both", "running": None, "earlier": []}


async def test_an_equal_canary_is_promoted_and_the_audit_log_says_why(world):
    await world.send(evidence())
    await world.trials.judge()
    assert await world.states() == {L: "retired", C: "live"}
    entry = (await world.registry.audit(1))[0]
    assert (entry.actor, entry.action, entry.version) == ("canary", "promote", C)
    assert entry.detail.startswith("mean score +0.000 against the live version over 200 answers")
    report = await world.trials.report("legal")
    assert report["running"] is None
    assert (report["earlier"][0]["ended_by"], report["earlier"][0]["verdict"]["decision"]) == ("promote", "promote")
    assert report["earlier"][0]["verdict"]["queries"]["canary"]["num_queries"] == 200


async def test_a_worse_canary_is_withdrawn(world):
    await world.send(evidence(-0.5))
    await world.trials.judge()
    assert await world.states() == {L: "live", C: "retired"}
    entry = (await world.registry.audit(1))[0]
    assert (entry.actor, entry.action, entry.version) == ("canary", "rollback", C)
    assert "surely below the allowed -0.05" in entry.detail


async def test_one_that_fails_is_withdrawn_after_few_queries(world):
    await world.send(evidence(num_pairs=0, failed=12))
    await world.trials.judge()
    assert (await world.states())[C] == "retired"


async def test_one_that_nobody_can_judge_is_withdrawn_in_the_end(world):
    await world.trials.judge()
    assert (await world.states())[C] == "canary"
    world.now_s += 72 * 3600
    await world.trials.judge()
    assert (await world.states())[C] == "retired"
    assert "within 72 hours" in (await world.registry.audit(1))[0].detail


@pytest.mark.parametrize(
    ("automatic", "difference", "state"),
    [("off", 0.0, "canary"), ("off", -0.5, "canary"), ("rollback", 0.0, "canary"), ("rollback", -0.5, "retired"),
     ("promote", 0.0, "live"), ("promote", -0.5, "canary")],
)  # fmt: skip
async def test_only_what_is_automatic_is_done_and_the_rest_is_said(tmp_path, automatic, difference, state):
    store = Store(str(tmp_path / "r.sqlite3"))
    await store.open()
    world = World(store, automatic=automatic)
    await world.begin()
    await world.send(evidence(difference))
    await world.trials.judge()
    assert (await world.states())[C] == state
    if state == "canary":
        running = (await world.trials.report("legal"))["running"]
        assert running["verdict"]["decision"] == ("promote" if difference == 0 else "rollback")
    await store.close()


async def test_evidence_of_all_gateways_is_added_up_and_a_repeated_record_counts_once(world):
    half = evidence(num_pairs=40)
    for _ in range(3):
        await world.send(half, gateway="g1", sequence=5)
    await world.send(half, gateway="g2", sequence=5)
    await world.send(evidence(num_pairs=10), gateway="g1", sequence=4)  # late: it was sent before
    assert await world.evidence() == 80
    await world.send(evidence(num_pairs=50), gateway="g1", sequence=6)
    assert await world.evidence() == 90


@pytest.mark.parametrize("other", [{"live": D}, {"canary": D}, {"name": "code"}])
async def test_evidence_of_other_versions_never_counts(world, other):
    await world.send(evidence(-1.0), **other)
    await world.trials.judge()
    assert await world.evidence() == 0
    assert (await world.states())[C] == "canary"


async def test_a_new_live_version_begins_a_new_trial(world):
    await world.send(evidence(-0.5, num_pairs=10))
    await world.add(D)
    await world.registry.promote("legal", D, "ada")
    await world.trials.judge()
    report = await world.trials.report("legal")
    assert (report["running"]["live"], await world.evidence()) == (D, 0)
    assert (report["earlier"][0]["live"], report["earlier"][0]["ended_by"]) == (L, "others")
    await world.send(evidence(-0.5), live=L)
    await world.trials.judge()
    assert (await world.states())[C] == "canary"


async def test_the_same_two_versions_again_are_a_new_trial(world):
    revision = (await world.registry.snapshot()).revision
    await world.send(evidence(-0.5), since=revision)
    await world.trials.judge()
    await world.add(C)
    await world.registry.canary("legal", C, 0.1, "ada")
    await world.send(evidence(-0.5), since=revision)  # a gateway that has not seen the end of the first trial
    await world.trials.judge()
    await world.trials.judge()
    assert (await world.states())[C] == "canary"
    assert await world.evidence() == 0
    await world.send(evidence(), since=(await world.registry.snapshot()).revision)
    await world.trials.judge()
    assert (await world.states())[C] == "live"
    assert len((await world.trials.report("legal"))["earlier"]) == 2


async def test_a_new_process_goes_on_with_what_is_stored(world):
    await world.send(evidence())
    after = world.restarted()
    await after.judge()
    assert (await world.states())[C] == "live"


async def test_two_that_judge_at_once_decide_once(world):
    await world.send(evidence())
    await asyncio.gather(world.trials.judge(), world.restarted().judge())
    assert [one.action for one in await world.registry.audit(10)].count("promote") == 2  # the first was by ada


async def test_what_somebody_else_has_decided_meanwhile_stays(world):
    await world.send(evidence())
    write, store = world.store.write, world.store

    async def after_a_rollback(work):
        store.write = write
        await world.registry.rollback("legal", "ada")
        return await write(work)

    store.write = after_a_rollback
    await world.trials.judge()
    assert await world.states() == {L: "live", C: "retired"}
    await world.trials.judge()
    assert (await world.trials.report("legal"))["earlier"][0]["ended_by"] == "others"


async def test_the_evidence_of_an_ended_trial_is_not_kept(world):
    await world.send(evidence(), since=1)
    await world.trials.judge()
    await world.send(evidence(), since=1)
    assert await world.store.read(lambda connection: connection.execute(select(canary_evidence)).all()) == []


async def test_metrics_tell_of_the_trials_that_run_and_of_decisions(world):
    await world.send(evidence(num_pairs=50))
    await world.trials.judge()
    told = {(one.instrument.name, *one.labels): one.value for one in world.trials.readings()}
    assert told["canary_state", "legal", "undecided"] == 1
    assert told["canary_pairs", "legal", "quality"] == 50
    await world.send(evidence(num_pairs=200))
    await world.trials.judge()
    await world.trials.judge()
    told = {(one.instrument.name, *one.labels): one.value for one in world.trials.readings()}
    assert told == {("canary_decisions", "legal", "promote"): 1}


async def test_a_database_that_is_away_is_a_ledger_error(tmp_path):
    store = Store(str(tmp_path / "r.sqlite3"))
    await store.open()
    world = World(store)
    await world.begin()
    await store.close()
    for asked in (world.trials.judge(), world.trials.take([]), world.trials.report("legal")):
        with pytest.raises(LedgerError):
            await asked
