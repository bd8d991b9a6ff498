"""A gateway adds up what it sees of each trial, once for each conversation, and sends its totals."""

import pytest

from serve_app.adapters.registry.records import RegistrySnapshot, ServedAdapter
from serve_app.canary import Gatherer, Outcome, TrialEvidence
from serve_app.core import LedgerError

SAME = Outcome(False, 10, 1.0)


class Sink:
    """Takes records, or is away."""

    def __init__(self):
        self.records, self.is_away = [], False

    async def adapters_evidence(self, records):
        if self.is_away:
            raise LedgerError("away")
        self.records += records

    def totals(self, index=-1):
        return TrialEvidence.model_validate(self.records[index].totals)


def snapshot(revision=7, canary="c1", live="l1", name="legal"):
    return RegistrySnapshot(revision, (ServedAdapter(name, live, canary, 0.1), ServedAdapter("code", "l9")))


@pytest.fixture
def sink():
    return Sink()


@pytest.fixture
def gatherer(sink):
    made = Gatherer("g1", sink)
    made.follow(snapshot())
    return made


def test_a_trial_is_of_a_name_with_a_canary(gatherer):
    assert gatherer.trial("code") is None
    trial = gatherer.trial("legal")
    assert (trial.canary, trial.live, trial.since_revision) == ("c1", "l1", 7)
    assert gatherer.trials_of({"legal": "c1", "code": "l9"}) == (trial,)
    assert gatherer.trials_of({"legal": "other"}) == ()


def test_queries_of_both_versions_are_paired_in_whatever_order(gatherer):
    trial = gatherer.trial("legal")
    gatherer.ended(trial, "l1", 1, SAME)
    gatherer.ended(trial, "c1", 2, Outcome(True))
    gatherer.ended(trial, "c1", 3, SAME)
    gatherer.ended(trial, "l1", 4, Outcome(True))
    assert trial.evidence.errors == {1: 1, -1: 1}


def test_of_a_conversation_the_first_query_counts(gatherer):
    trial = gatherer.trial("legal")
    for _ in range(5):
        gatherer.ended(trial, "c1", 1, Outcome(True))
    for index in range(5):
        gatherer.ended(trial, "l1", 10 + index, SAME)
    assert trial.evidence.errors == {1: 1}


def test_a_neighbour_is_the_latest_one_that_has_none(gatherer):
    trial = gatherer.trial("legal")
    for index in range(20):
        gatherer.ended(trial, "l1", index, Outcome(False, index, 1.0))
    gatherer.ended(trial, "c1", 100, SAME)
    assert trial.evidence.live.cost_nusd == 19


def test_another_version_is_of_no_trial(gatherer):
    trial = gatherer.trial("legal")
    gatherer.ended(trial, "l0", 1, SAME)
    assert trial.waiting == {}


async def test_totals_are_sent_when_they_have_changed(gatherer, sink):
    await gatherer.send()
    assert sink.records == []
    trial = gatherer.trial("legal")
    gatherer.compared(trial, 0.9, 0.4)
    await gatherer.send()
    await gatherer.send()
    (record,) = sink.records
    assert (record.gateway, record.name, record.canary, record.live, record.since_revision) == (
        "g1", "legal", "c1", "l1", 7,
    )  # fmt: skip
    gatherer.agreed(trial, 0.5)
    await gatherer.send()
    assert sink.totals() == TrialEvidence(quality={500: 1}, agreement={500: 1})
    assert sink.records[1].sequence > record.sequence


async def test_while_the_ledger_is_away_nothing_is_lost(gatherer, sink):
    sink.is_away = True
    gatherer.compared(gatherer.trial("legal"), 1.0, 0.0)
    with pytest.raises(LedgerError):
        await gatherer.send()
    gatherer.follow(RegistrySnapshot(8))
    sink.is_away = False
    await gatherer.send()
    await gatherer.send()
    assert len(sink.records) == 1
    assert gatherer.trial("legal") is None


@pytest.mark.parametrize("change", [{"canary": "c2"}, {"live": "l2"}])
async def test_another_canary_or_live_version_is_another_trial(gatherer, sink, change):
    gatherer.compared(gatherer.trial("legal"), 1.0, 0.0)
    gatherer.follow(snapshot(9, **change))
    trial = gatherer.trial("legal")
    assert (trial.evidence, trial.since_revision) == (TrialEvidence(), 9)
    gatherer.follow(snapshot(10, **change))
    assert gatherer.trial("legal") is trial


async def test_what_was_added_while_a_batch_was_on_its_way_is_sent_next(gatherer, sink):
    trial = gatherer.trial("legal")
    gatherer.compared(trial, 1.0, 0.0)
    send = sink.adapters_evidence

    async def slowly(records):
        gatherer.compared(trial, 0.0, 1.0)
        sink.adapters_evidence = send
        await send(records)

    sink.adapters_evidence = slowly
    await gatherer.send()
    await gatherer.send()
    assert [sink.totals(index).quality for index in (0, 1)] == [{1000: 1}, {1000: 1, -1000: 1}]
