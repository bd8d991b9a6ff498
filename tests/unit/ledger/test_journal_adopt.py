"""Journals of dead owners: everything up to the damage counts, exactly once, whoever comes first."""

import asyncio
import logging

import pytest

from serve_app.core import Answer, LedgerError
from serve_app.ledger import SqlLedger
from serve_app.ledger.journal import Adopted, Journal, adopt
from serve_app.ledger.journal.frames import Kind, pack
from tests.unit.ledger.scripted import KIB, ScriptedLedger, crash, opening, until


@pytest.fixture
def accounts(answer) -> list[Answer]:
    return [answer(f"q{index}", reason="x" * 300) for index in range(60)]


@pytest.fixture
def dead(tmp_path, accounts) -> Journal:
    """Sixty accounts over several segments, two queries without an end; its owner is dead."""
    journal = Journal.open(tmp_path, "gw", segment_mb=4 * KIB)
    journal.begin(opening("open1", key_id="key"))
    for account in accounts:
        journal.begin(opening(account.query_id))
        journal.end(account)
    journal.begin(opening("open2", tier="flex"))
    crash(journal)
    return journal


async def test_accounts_arrive_in_order_and_what_never_ended_is_lost(tmp_path, dead, accounts):
    ledger = ScriptedLedger()
    assert await adopt(tmp_path, ledger, batch=7) == Adopted(60, 2, ("gw",))
    assert list(ledger.stored) == [account.query_id for account in accounts] + ["open1", "open2"]
    assert list(ledger.stored.values())[:60] == accounts
    lost = ledger.stored["open1"]
    assert (lost.outcome, lost.attempts, lost.cost_nusd, lost.key_id, lost.gateway) == ("lost", (), 0, "key", "gw")
    assert (lost.created_at_s, ledger.stored["open2"].tier) == (1000.0, "flex")
    assert max(ledger.batch_sizes) == 7
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    assert await adopt(tmp_path, ledger) == Adopted()


async def test_a_living_owner_is_left_alone(tmp_path, accounts):
    journal = Journal.open(tmp_path, "gw")
    journal.end(accounts[0])
    assert await adopt(tmp_path, ScriptedLedger()) == Adopted()
    crash(journal)
    assert (await adopt(tmp_path, ScriptedLedger())).num_answers == 1


async def test_no_root_is_nothing_to_adopt(tmp_path):
    assert await adopt(tmp_path / "absent", ScriptedLedger()) == Adopted()


async def test_what_the_ledger_confirmed_is_not_sent_again(tmp_path, accounts):
    journal = Journal.open(tmp_path, "gw", segment_mb=4 * KIB)
    for account in accounts:
        journal.end(account)
    await journal.head(45)
    journal.settle(45)
    crash(journal)
    ledger = ScriptedLedger()
    assert (await adopt(tmp_path, ledger)).num_answers == 15
    assert list(ledger.stored) == [account.query_id for account in accounts[45:]]


async def test_a_query_that_was_dropped_is_not_lost(tmp_path):
    journal = Journal.open(tmp_path, "gw")
    journal.begin(opening("refused"))
    journal.gone("refused")
    crash(journal)
    assert await adopt(tmp_path, ScriptedLedger()) == Adopted(0, 0, ("gw",))


async def test_adopters_that_race_hand_over_once(tmp_path, accounts):
    for index in range(20):
        journal = Journal.open(tmp_path, f"gw{index}")
        journal.begin(opening(f"open{index}"))
        for account in accounts[index::20]:
            journal.end(account)
        crash(journal)
    ledger = ScriptedLedger()
    results = await asyncio.gather(*(adopt(tmp_path, ledger, batch=2) for _ in range(5)))
    assert sum(result.num_answers for result in results) == 60
    assert sum(result.num_lost for result in results) == 20
    assert sum(len(result.folders) for result in results) == 20
    assert ledger.num_repeated == 0
    assert len(ledger.stored) == 80


async def test_a_ledger_that_is_away_keeps_everything_for_the_next_time(tmp_path, dead):
    ledger = ScriptedLedger(lambda batch: True)
    with pytest.raises(LedgerError, match=r"not adopted yet: the disk is full"):
        await adopt(tmp_path, ledger)
    ledger.refuse = lambda batch: False
    assert await adopt(tmp_path, ledger) == Adopted(60, 2, ("gw",))


async def test_broken_off_in_the_middle_it_begins_again(tmp_path, dead, accounts):
    class Stuck(ScriptedLedger):
        async def record(self, answers):
            if len(self.batch_sizes) == 3:
                await asyncio.Event().wait()
            await super().record(answers)

    stuck = Stuck()
    task = asyncio.create_task(adopt(tmp_path, stuck, batch=5))
    await until(lambda: len(stuck.batch_sizes) == 3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    ledger = ScriptedLedger()
    ledger.stored = dict(stuck.stored)
    await adopt(tmp_path, ledger)
    assert len(ledger.stored) == 62


async def test_one_account_that_no_ledger_takes_holds_up_no_others(tmp_path, dead, caplog):
    ledger = ScriptedLedger(lambda batch: any(answer.query_id == "q3" for answer in batch))
    with caplog.at_level(logging.ERROR):
        assert await adopt(tmp_path, ledger, batch=10) == Adopted(59, 2, ("gw",))
    assert "the account of query q3, which no ledger takes" in caplog.text
    (aside,) = tmp_path.glob("gw-refused-*.damaged")
    assert b'"query_id":"q3"' in aside.read_bytes()


async def test_one_folder_that_fails_does_not_keep_the_others_waiting(tmp_path, accounts):
    for name, account in (("bad", accounts[0]), ("good", accounts[1])):
        journal = Journal.open(tmp_path, name)
        journal.end(account)
        crash(journal)
    ledger = ScriptedLedger(lambda batch: batch[0].query_id == "q0")
    assert (await adopt(tmp_path, ledger)).folders == ("good",), "its budget is due to be reclaimed"
    with pytest.raises(LedgerError):
        await adopt(tmp_path, ledger)
    assert list(ledger.stored) == ["q1"]
    assert not (tmp_path / "good").exists()


async def test_a_folder_that_cannot_be_deleted_is_adopted_all_the_same_and_once(tmp_path, dead, caplog):
    (dead.path / "a stranger's file").touch()
    ledger = ScriptedLedger()
    assert await adopt(tmp_path, ledger) == Adopted(60, 2, ("gw",))
    assert "cannot be deleted" in caplog.text
    assert await adopt(tmp_path, ledger) == Adopted()


async def test_a_torn_tail_is_kept_aside_and_the_rest_counts(tmp_path, dead, accounts, caplog):
    last = [path for path in dead._folder.segment_paths() if path.read_bytes().strip(b"\0")][-1]
    data = last.read_bytes().rstrip(b"\0")
    torn = pack(Kind.END, b"x" * 50)[:30]
    last.write_bytes(data + torn + b"\0" * 100)
    ledger = ScriptedLedger()
    with caplog.at_level(logging.ERROR):
        assert await adopt(tmp_path, ledger) == Adopted(60, 2, ("gw",))
    assert "The journal gw is damaged" in caplog.text
    (aside,) = tmp_path.glob("*.damaged")
    assert aside.read_bytes() == torn


async def test_damage_in_the_middle_costs_the_rest_of_its_segment_only(tmp_path, dead, accounts):
    second = dead._folder.segment_paths()[1]
    data = bytearray(second.read_bytes())
    data[700] ^= 1
    second.write_bytes(data)
    ledger = ScriptedLedger()
    adopted = await adopt(tmp_path, ledger)
    assert 50 < adopted.num_answers < 60
    lost = {query_id for query_id, account in ledger.stored.items() if account.outcome == "lost"}
    assert {"open1", "open2"} <= lost
    assert len(list(tmp_path.glob("*.damaged"))) == 1


async def test_files_that_are_no_segments_are_kept_aside(tmp_path, dead):
    (dead.path / "00000099.segment").write_bytes(b"not a journal at all")
    (dead.path / "00000100.segment").write_bytes(b"")
    assert (await adopt(tmp_path, ScriptedLedger())).num_answers == 60
    (aside,) = tmp_path.glob("gw-00000099-*.damaged")
    assert aside.read_bytes() == b"not a journal at all"


async def test_a_record_of_another_version_is_kept_aside(tmp_path, accounts):
    journal = Journal.open(tmp_path, "gw")
    journal.end(accounts[0])
    journal._append(pack(Kind.END, b'{"query_id":"new","outcome":"forgiven"}'))
    journal._append(pack(Kind.BEGIN, b"[]"))
    journal.end(accounts[1])
    crash(journal)
    ledger = ScriptedLedger()
    assert (await adopt(tmp_path, ledger)).num_answers == 2
    assert list(ledger.stored) == ["q0", "q1"]
    assert len(list(tmp_path.glob("*.damaged"))) == 2


async def test_adopting_twice_into_sql_makes_one_row_each(tmp_path, dead, ledger: SqlLedger, accounts):
    await ledger.record(accounts[:20])
    assert (await adopt(tmp_path, ledger)).num_lost == 2
    assert (await ledger.stats(None, None, ()))["totals"]["queries"] == 62
    stored = await ledger.query("open1")
    assert stored is not None
    assert stored["outcome"] == "lost"


async def test_what_is_due_before_a_folder_goes_is_done_first_and_again_where_it_failed(tmp_path, dead):
    ledger, claimed = ScriptedLedger(), []

    async def claim(name):
        claimed.append(name)
        if len(claimed) == 1:
            raise LedgerError("the database is away")

    with pytest.raises(LedgerError, match="the database is away"):
        await adopt(tmp_path, ledger, before_removal=claim)
    assert (await adopt(tmp_path, ledger, before_removal=claim)).folders == ("gw",)
    assert claimed == ["gw", "gw"]
    assert len(ledger.stored) == 62
