"""The recorder over a journal: what survives what, what waits for what, and what happens without room."""

import asyncio
import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.core import Answer, JournalFull, LedgerError
from serve_app.ledger import Recorder
from serve_app.ledger import recorder as recorder_module
from serve_app.ledger.journal import Adopted, Journal, adopt, spare
from tests.properties import examples
from tests.unit.ledger.scripted import KIB, ScriptedLedger, crash, opening, until


@pytest.fixture(autouse=True)
def short_backoff(monkeypatch):
    monkeypatch.setattr(recorder_module, "_BACKOFF_S", 0.001)
    monkeypatch.setattr(recorder_module, "_BACKOFF_LIMIT_S", 0.01)


@pytest.fixture
def accounts(answer) -> list[Answer]:
    return [answer(f"q{index}", reason="x" * 300) for index in range(100)]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """With room for about twenty accounts in four segments."""
    opened = Journal.open(tmp_path, "gw", segment_mb=4 * KIB, max_mb=16 * KIB, window=8)
    yield opened
    opened._spare.thread.shutdown()
    opened._spare._maker.shutdown()


def away(batch: Sequence[Answer]) -> bool:
    return True


async def test_begun_and_put_accounts_reach_the_ledger_and_the_folder_goes(journal, accounts):
    ledger = ScriptedLedger()
    recorder = Recorder(ledger, journal, flush_ms=1)
    for account in accounts[:9]:
        recorder.begin(opening(account.query_id))
        await recorder.synced()
        recorder.put(account)
        await recorder.saved(account.query_id)
    await recorder.close()
    assert list(ledger.stored.values()) == accounts[:9]
    assert (recorder.state, recorder.num_pending, recorder.pending_bytes, recorder.num_spilled) == ("ok", 0, 0, 0)
    assert not journal.path.exists()


async def test_a_closed_recorder_begins_nothing_that_it_could_not_account_for(journal, accounts):
    recorder = Recorder(ScriptedLedger(), journal)
    recorder.begin(opening("q0"))
    await recorder.close()
    with pytest.raises(LedgerError, match="closed; query q1"):
        recorder.begin(opening("q1"))
    recorder.drop("q0")  # a query that ends late writes into no file that has the old number by now
    assert journal.num_open == 0


async def test_with_the_ledger_away_accounts_wait_on_disk_and_land_in_order(tmp_path, accounts):
    journal = Journal.open(tmp_path, "gw", segment_mb=4 * KIB, window=8)
    ledger = ScriptedLedger(away)
    recorder = Recorder(ledger, journal, flush_ms=60_000, max_batch=500)
    for account in accounts:
        recorder.begin(opening(account.query_id))
        recorder.put(account)
        await recorder.saved(account.query_id)
    for _ in range(20):
        with pytest.raises(LedgerError, match="100 query accounts are not saved: the disk is full"):
            await recorder.flush()
    assert (recorder.state, recorder.num_in_memory, recorder.num_spilled) == ("behind", 0, 0)
    assert len(journal._window) <= 8
    assert recorder.pending_bytes > 100 * 300
    ledger.refuse = lambda batch: False
    await recorder.flush()
    assert list(ledger.stored.values()) == accounts
    assert (recorder.state, recorder.last_error) == ("ok", None)
    await recorder.close()


async def test_what_a_dead_recorder_had_taken_is_adopted(tmp_path, journal, accounts):
    recorder = Recorder(ScriptedLedger(away), journal, flush_ms=60_000)
    for account in accounts[:5]:
        recorder.begin(opening(account.query_id))
        recorder.put(account)
    recorder.begin(opening("open"))
    recorder.begin(opening("refused"))
    recorder.drop("refused")
    crash(journal)
    ledger = ScriptedLedger()
    assert await adopt(tmp_path, ledger) == Adopted(5, 1, ("gw",))
    await cancel(recorder)


async def cancel(recorder: Recorder) -> None:
    """End the background task, as the death of the process does."""
    if recorder._task is not None:
        recorder._task.cancel()
        await asyncio.wait([recorder._task])


async def fill(recorder: Recorder, journal: Journal, accounts: list[Answer]) -> None:
    """Put all accounts, the thread of the journal keeping up."""
    for account in accounts:
        recorder.put(account)
        await until(lambda: journal._spare._next is None or journal._spare._next.done())


async def test_a_full_journal_refuses_new_queries_and_keeps_the_accounts_of_those_under_way(journal, accounts):
    ledger = ScriptedLedger(away)
    recorder = Recorder(ledger, journal, flush_ms=60_000)
    await fill(recorder, journal, accounts)
    assert recorder.state == "full"
    assert 0 < recorder.num_spilled == recorder.num_in_memory < 100
    with pytest.raises(JournalFull, match="max_mb"):
        recorder.begin(opening("new"))
    assert recorder.num_unrecorded == 0
    ledger.refuse = lambda batch: False
    await recorder.flush()
    assert list(ledger.stored.values()) == accounts
    await until(lambda: recorder.state == "ok")
    recorder.begin(opening("new"))
    recorder.drop("new")
    await recorder.close()


async def test_by_policy_queries_are_served_unrecorded_and_counted(journal, accounts, monkeypatch):
    monkeypatch.setattr(recorder_module, "_MAX_IN_MEMORY", 10)
    ledger = ScriptedLedger(away)
    recorder = Recorder(ledger, journal, flush_ms=60_000, when_full="serve_unrecorded")
    await fill(recorder, journal, accounts)
    recorder.begin(opening("new"))
    assert (recorder.num_unrecorded, recorder.num_in_memory) == (1, 10)
    assert recorder.num_dropped == 100 - recorder.num_pending > 0
    ledger.refuse = lambda batch: False
    await recorder.close()
    assert len(ledger.stored) == 100 - recorder.num_dropped


async def test_accounts_in_memory_move_to_disk_as_soon_as_there_is_space(tmp_path, accounts, monkeypatch):
    monkeypatch.setattr(spare, "_RETRY_S", 0.0)
    journal = Journal.open(tmp_path, "gw", segment_mb=4 * KIB)
    recorder = Recorder(ScriptedLedger(away), journal, flush_ms=60_000)

    def no_space(fd: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as full_disk:
        full_disk.setattr(os, "posix_fallocate", no_space)
        for account in accounts[:99]:
            recorder.put(account)
        assert (recorder.state, recorder.num_in_memory > 0) == ("full", True)
    recorder.put(accounts[99])
    assert recorder.num_in_memory == 0
    crash(journal)
    ledger = ScriptedLedger()
    await adopt(tmp_path, ledger)
    assert list(ledger.stored.values()) == accounts
    await cancel(recorder)


async def test_a_query_begun_on_disk_and_saved_past_it_is_not_lost_later(tmp_path, journal, accounts):
    ledger = ScriptedLedger(away)
    recorder = Recorder(ledger, journal, flush_ms=60_000)
    recorder.begin(opening("late"))
    await fill(recorder, journal, accounts)
    recorder.put(accounts[0].__class__("late", 1000.0, "auto", "accepted", ()))
    ledger.refuse = lambda batch: False
    await recorder.flush()
    crash(journal)
    assert await adopt(tmp_path, ledger) == Adopted(0, 0, ("gw",))
    assert ledger.stored["late"].outcome == "accepted"
    await cancel(recorder)


async def test_a_query_that_runs_on_does_not_keep_a_full_journal_full(journal, accounts):
    ledger = ScriptedLedger(away)
    recorder = Recorder(ledger, journal, flush_ms=60_000)
    recorder.begin(opening("slow"))
    await fill(recorder, journal, accounts)
    assert recorder.state == "full"
    ledger.refuse = lambda batch: False
    await recorder.flush()
    await until(lambda: recorder.state == "ok")
    recorder.begin(opening("new"))
    recorder.drop("new")
    recorder.drop("slow")
    await recorder.close()


async def test_without_a_journal_memory_has_a_bound(accounts, monkeypatch):
    monkeypatch.setattr(recorder_module, "_MAX_IN_MEMORY", 10)
    ledger = ScriptedLedger(away)
    recorder = Recorder(ledger, flush_ms=60_000)
    for account in accounts:
        recorder.put(account)
    with pytest.raises(JournalFull, match="100 query accounts are not saved: the ledger has not answered yet"):
        recorder.begin(opening("new"))
    assert recorder.state == "full"
    ledger.refuse = lambda batch: False
    await recorder.close()
    assert (len(ledger.stored), recorder.num_dropped) == (100, 0)


async def test_replicated_waits_until_the_ledger_has_that_account(journal, accounts):
    class Gated(ScriptedLedger):
        gate = asyncio.Event()

        async def record(self, answers):
            await self.gate.wait()
            await super().record(answers)

    ledger = Gated()
    recorder = Recorder(ledger, journal, flush_ms=60_000, durability="replicated", replicate_timeout_s=20)
    recorder.put(accounts[0])
    saving = asyncio.create_task(recorder.saved("q0"))
    await recorder.synced()
    assert not saving.done()
    ledger.gate.set()
    await saving
    assert list(ledger.stored) == ["q0"]
    await recorder.saved("q0")
    assert recorder.num_unreplicated == 0
    await recorder.close()


async def test_replicated_falls_back_to_the_disk_in_time_and_is_counted(journal, accounts):
    recorder = Recorder(ScriptedLedger(away), journal, durability="replicated", replicate_timeout_s=0.01)
    recorder.put(accounts[0])
    await recorder.saved("q0")
    assert recorder.num_unreplicated == 1
    assert journal._synced_to == journal._tail
    await cancel(recorder)
    crash(journal)


async def test_an_account_that_the_ledger_refuses_is_not_taken_for_saved(journal, accounts):
    ledger = ScriptedLedger(lambda batch: any(account.query_id == "q0" for account in batch))
    recorder = Recorder(ledger, journal, flush_ms=1, durability="replicated", replicate_timeout_s=5)
    recorder.put(accounts[0])
    poisoned = asyncio.create_task(recorder.saved("q0"))
    for account in accounts[1:4]:
        recorder.put(account)
    await recorder.saved("q3")
    assert set(ledger.stored) == {"q1", "q2", "q3"}
    assert not poisoned.done()
    ledger.refuse = lambda batch: False
    await poisoned
    assert "q0" in ledger.stored
    await recorder.close()


async def test_a_disk_that_does_not_confirm_is_counted_and_the_answer_goes_out(journal, accounts, monkeypatch):
    recorder = Recorder(ScriptedLedger(), journal, flush_ms=60_000)

    def broken(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fdatasync", broken)
    recorder.put(accounts[0])
    await recorder.saved("q0")
    assert (recorder.num_unsynced, recorder.state) == (1, "full")
    with pytest.raises(JournalFull, match="replace it"):
        await recorder.synced()
    await recorder.close()


async def test_close_with_the_ledger_away_leaves_the_accounts_to_adopt(tmp_path, journal, accounts):
    recorder = Recorder(ScriptedLedger(away), journal, flush_ms=1)
    for account in accounts[:3]:
        recorder.put(account)
    with pytest.raises(LedgerError, match="3 query accounts are not saved: the disk is full; 0 of them are lost"):
        await recorder.close(timeout_s=0.02)
    journal.close()
    ledger = ScriptedLedger()
    assert (await adopt(tmp_path, ledger)).num_answers == 3


@settings(max_examples=examples(40), deadline=None)
@given(
    fates=st.lists(st.sampled_from(["stored", "refused", "stored but not confirmed"]), max_size=30),
    sizes=st.lists(st.integers(0, 900), min_size=1, max_size=40),
    max_batch=st.integers(1, 8),
    dies_after=st.integers(0, 60),
)
def test_whatever_fails_and_dies_every_account_is_stored_once(
    answer, tmp_path_factory, fates, sizes, max_batch, dies_after
):
    class Unreliable(ScriptedLedger):
        async def record(self, answers: Sequence[Answer]) -> None:
            fate = fates.pop() if fates else "stored"
            if fate != "refused":
                await super().record(answers)
            if fate != "stored":
                raise ConnectionError("the replica is gone")

    async def scenario(root: Path) -> None:
        ledger, put = Unreliable(), []
        journal = Journal.open(root, "gw", segment_mb=2 * KIB, window=4)
        recorder = Recorder(ledger, journal, flush_ms=0.1, max_batch=max_batch)
        for number, size in enumerate(sizes[:dies_after]):
            recorder.begin(opening(f"q{number}"))
            await recorder.synced()
            put.append(answer(f"q{number}", reason="x" * size))
            recorder.put(put[-1])
        if dies_after < len(sizes):
            recorder.begin(opening("open"))
            await cancel(recorder)
            crash(journal)
            fates.clear()
            assert (await adopt(root, ledger)).num_lost == 1
            assert ledger.stored.pop("open").outcome == "lost"
        else:
            await recorder.close()
            assert not journal.path.exists()
        assert sorted(ledger.stored) == sorted(account.query_id for account in put)
        assert all(ledger.stored[account.query_id] == account for account in put)

    asyncio.run(scenario(tmp_path_factory.mktemp("journal")))
