"""The recorder: batches, keeps what fails, drops nothing."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.core import Answer, LedgerError
from serve_app.ledger import Recorder
from serve_app.ledger import recorder as recorder_module
from tests.properties import examples
from tests.unit.ledger.scripted import ScriptedLedger, until


@pytest.fixture(autouse=True)
def short_backoff(monkeypatch):
    monkeypatch.setattr(recorder_module, "_BACKOFF_S", 0.001)


@pytest.fixture
def accounts(answer) -> list[Answer]:
    return [answer(f"q{index}") for index in range(10)]


async def test_accounts_arrive_together_after_flush_ms(accounts):
    ledger = ScriptedLedger()
    recorder = Recorder(ledger, flush_ms=5)
    for account in accounts:
        recorder.put(account)
    assert (recorder.num_pending, ledger.batch_sizes) == (10, [])
    await until(lambda: recorder.num_recorded == 10)
    assert ledger.batch_sizes == [10]
    assert recorder.num_pending == 0


async def test_a_full_batch_does_not_wait(accounts):
    ledger = ScriptedLedger()
    recorder = Recorder(ledger, flush_ms=60_000, max_batch=4)
    for account in accounts:
        recorder.put(account)
    await until(lambda: recorder.num_recorded == 8)
    assert ledger.batch_sizes == [4, 4]
    await recorder.close()
    assert ledger.batch_sizes == [4, 4, 2]


async def test_accounts_put_during_a_flush_are_not_lost(accounts):
    ledger = ScriptedLedger()
    recorder = Recorder(ledger, flush_ms=1, max_batch=2)
    for account in accounts:
        recorder.put(account)
        await asyncio.sleep(0)
    await recorder.close()
    assert list(ledger.stored) == [account.query_id for account in accounts]


async def test_a_failed_flush_keeps_the_accounts_and_tries_again(accounts):
    failures = iter([True, True, True])
    ledger = ScriptedLedger(lambda batch: next(failures, False))
    recorder = Recorder(ledger, flush_ms=1)
    for account in accounts:
        recorder.put(account)
    await until(lambda: recorder.num_pending == 0)
    assert len(ledger.stored) == 10
    assert (recorder.num_failed_flushes, recorder.num_recorded, recorder.last_error) == (3, 10, None)


async def test_an_account_that_cannot_be_stored_does_not_hold_up_the_others(accounts):
    ledger = ScriptedLedger(lambda batch: any(answer.query_id == "q3" for answer in batch))
    recorder = Recorder(ledger, flush_ms=1)
    for account in accounts:
        recorder.put(account)
    await until(lambda: recorder.num_recorded == 9)
    with pytest.raises(
        LedgerError, match=r"1 query accounts are not saved: the disk is full; 1 of them are lost unless"
    ):
        await recorder.close(timeout_s=0.02)
    assert "q3" not in ledger.stored


async def test_close_says_how_many_are_unsaved_and_may_be_called_again(accounts):
    ledger = ScriptedLedger(lambda batch: True)
    recorder = Recorder(ledger, flush_ms=1)
    for account in accounts:
        recorder.put(account)
    with pytest.raises(LedgerError, match="10 query accounts are not saved: the disk is full"):
        await recorder.close(timeout_s=0.02)
    ledger.refuse = lambda batch: False
    await recorder.close()
    assert len(ledger.stored) == 10


async def test_a_ledger_that_hangs_does_not_hang_close(accounts):
    class Hanging(ScriptedLedger):
        async def record(self, answers: Sequence[Answer]) -> None:
            await asyncio.Event().wait()

    recorder = Recorder(Hanging(), flush_ms=1)
    recorder.put(accounts[0])
    with pytest.raises(LedgerError, match="1 query accounts are not saved"):
        await recorder.close(timeout_s=0.02)


async def test_a_record_that_times_out_is_sent_again(accounts):
    class SlowOnce(ScriptedLedger):
        async def record(self, answers: Sequence[Answer]) -> None:
            if not self.batch_sizes:
                self.batch_sizes.append(0)
                await asyncio.sleep(60)
            await super().record(answers)

    ledger = SlowOnce()
    recorder = Recorder(ledger, flush_ms=1, record_timeout_s=0.01)
    recorder.put(accounts[0])
    await until(lambda: recorder.num_recorded == 1)
    assert list(ledger.stored) == ["q0"]


async def test_flush_returns_though_new_accounts_come_without_end(accounts):
    class Popular(ScriptedLedger):
        """While it stores a batch, two more accounts are put."""

        async def record(self, answers: Sequence[Answer]) -> None:
            await super().record(answers)
            for _ in range(2):
                recorder.put(replace(accounts[0], query_id=f"new{recorder.num_pending}-{len(self.batch_sizes)}"))

    ledger = Popular()
    recorder = Recorder(ledger, flush_ms=60_000)
    recorder.put(accounts[0])
    async with asyncio.timeout(10):
        await recorder.flush()
    assert "q0" in ledger.stored
    assert recorder.num_pending > 0
    recorder._ledger = ScriptedLedger()
    await recorder.close()


async def test_flush_raises_and_keeps_when_the_ledger_fails(accounts):
    ledger = ScriptedLedger(lambda batch: True)
    recorder = Recorder(ledger, flush_ms=60_000)
    recorder.put(accounts[0])
    with pytest.raises(LedgerError, match="they are kept"):
        await recorder.flush()
    assert recorder.num_pending == 1
    ledger.refuse = lambda batch: False
    await recorder.flush()
    assert recorder.num_pending == 0
    await recorder.close()


async def test_put_after_close_is_an_error(accounts):
    recorder = Recorder(ScriptedLedger())
    await recorder.close()
    with pytest.raises(LedgerError, match="the account of query q0 was not taken"):
        recorder.put(accounts[0])


async def test_a_recorder_that_drained_starts_again(accounts):
    ledger = ScriptedLedger()
    recorder = Recorder(ledger, flush_ms=1)
    for account in accounts[:2]:
        recorder.put(account)
        await until(lambda: recorder.num_pending == 0)
    assert ledger.batch_sizes == [1, 1]


async def test_back_off_grows_to_its_limit(accounts, monkeypatch):
    monkeypatch.setattr(recorder_module, "_BACKOFF_S", 0.1)
    recorder = Recorder(ScriptedLedger(lambda batch: True), flush_ms=60_000, max_batch=1)
    recorder.put(accounts[0])
    delays = []
    for _ in range(12):
        with pytest.raises(LedgerError):
            await recorder.flush()
        delays.append(recorder._backoff_s())
    assert delays[0] == 0.1
    assert delays[-1] == 5.0
    assert all(later >= earlier for earlier, later in pairwise(delays))
    with pytest.raises(LedgerError):
        await recorder.close(timeout_s=0.01)


async def test_accounts_reach_sql(ledger, accounts):
    recorder = Recorder(ledger, flush_ms=1)
    for account in accounts:
        recorder.put(account)
    await recorder.close()
    assert (await ledger.stats(None, None, ()))["totals"]["queries"] == 10


@settings(max_examples=examples(25), deadline=None)
@given(
    fates=st.lists(st.sampled_from(["stored", "refused", "stored but not confirmed"]), max_size=30),
    bursts=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    max_batch=st.integers(1, 8),
)
def test_whatever_fails_every_account_is_stored_once(answer, fates, bursts, max_batch):
    class Unreliable(ScriptedLedger):
        async def record(self, answers: Sequence[Answer]) -> None:
            fate = fates.pop() if fates else "stored"
            if fate != "refused":
                await super().record(answers)
            if fate != "stored":
                raise ConnectionError("the replica is gone")

    async def scenario() -> None:
        ledger = Unreliable()
        recorder = Recorder(ledger, flush_ms=0.1, max_batch=max_batch)
        for burst in bursts:
            for _ in range(burst):
                recorder.put(answer(f"q{recorder.num_recorded + recorder.num_pending}"))
            await asyncio.sleep(0)
        await recorder.close()
        assert len(ledger.stored) == recorder.num_recorded == sum(bursts)
        assert recorder.num_pending == 0

    asyncio.run(scenario())
