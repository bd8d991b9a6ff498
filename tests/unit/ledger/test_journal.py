"""The owner's end of the journal: order, room, memory, what is deleted and when."""

import asyncio
import errno
import os
from pathlib import Path

import pytest

from serve_app.core import Answer, JournalFull, LedgerError
from serve_app.ledger.journal import Journal, spare
from serve_app.ledger.journal.frames import Kind, SegmentReader
from tests.unit.ledger.scripted import KIB, crash, opening, until


@pytest.fixture
def accounts(answer) -> list[Answer]:
    return [answer(f"q{index}", reason="x" * 300) for index in range(200)]


def kinds(journal: Journal) -> list[Kind]:
    """Of all frames on disk."""
    return [frame.kind for path in journal._folder.segment_paths() for frame in SegmentReader(path).frames()]


async def ids(journal: Journal, count: int = 1000) -> list[str]:
    return [answer.query_id for answer in await journal.head(min(count, journal.window))]


async def test_accounts_come_back_in_order_and_whole(tmp_path, accounts):
    journal = Journal.open(tmp_path, "gw")
    for account in accounts:
        journal.begin(opening(account.query_id))
        journal.end(account)
    assert await journal.head(500) == accounts
    assert (len(journal), journal.num_open) == (200, 0)
    journal.settle(200)
    assert (len(journal), journal.num_bytes) == (0, 0)
    journal.close()


async def test_beyond_the_window_accounts_are_read_back_from_disk(tmp_path, accounts):
    journal = Journal.open(tmp_path, "gw", segment_mb=4 * KIB, window=3)
    for account in accounts:
        journal.end(account)
    assert len(journal._window) == 3
    seen = []
    while len(journal):
        batch = await journal.head(2)
        seen += batch
        assert len(journal._window) <= 3
        journal.settle(len(batch))
    assert seen == accounts
    journal.close()


async def test_accounts_appended_during_a_read_are_neither_lost_nor_doubled(tmp_path, accounts):
    journal = Journal.open(tmp_path, "gw", segment_mb=4 * KIB, window=4)
    for account in accounts[:50]:
        journal.end(account)
    seen, late = [], iter(accounts[50:])
    while len(journal):
        reading = asyncio.create_task(ids(journal, 3))
        for account in (account for _, account in zip(range(2), late, strict=False)):
            await asyncio.sleep(0)
            journal.end(account)
        seen += (batch := await reading)
        journal.settle(len(batch))
    assert seen == [account.query_id for account in accounts]
    journal.close()


async def test_settled_segments_are_deleted_and_an_empty_journal_leaves_no_folder(tmp_path, accounts):
    journal = Journal.open(tmp_path, "gw", segment_mb=4 * KIB)
    for account in accounts:
        journal.end(account)
    assert len(journal._folder.segment_paths()) > 20
    await ids(journal)
    journal.settle(200)
    await until(lambda: len(journal._folder.segment_paths()) == 2)
    journal.close()
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


async def test_a_query_that_stays_open_pins_no_file(tmp_path, accounts):
    journal = Journal.open(tmp_path, "gw", segment_mb=4 * KIB)
    journal.begin(opening("slow"))
    for account in accounts:
        journal.end(account)
        await ids(journal)
        journal.settle(1)
    await until(lambda: len(journal._folder.segment_paths()) <= 3)
    assert Kind.BEGIN in kinds(journal)
    assert journal.num_open == 1
    journal.gone("slow")
    journal.close()
    assert not journal.path.exists()


async def test_what_is_unsettled_or_open_at_the_end_stays_on_disk(tmp_path, accounts):
    for leave in ("end", "begin"):
        journal = Journal.open(tmp_path, leave)
        journal.begin(opening("q0"))
        if leave == "end":
            journal.end(accounts[0])
        journal.close()
        assert journal._folder.segment_paths()


async def test_a_name_that_an_earlier_owner_left_is_not_reused(tmp_path, accounts):
    first = Journal.open(tmp_path, "gw")
    first.end(accounts[0])
    crash(first)
    second, third = Journal.open(tmp_path, "gw"), Journal.open(tmp_path, "gw")
    assert [journal.path.name for journal in (first, second, third)] == ["gw", "gw-2", "gw-3"]
    assert len(second) == 0
    second.close()
    third.close()


async def test_an_account_larger_than_a_segment_gets_one_of_its_own(tmp_path, answer):
    journal = Journal.open(tmp_path, "gw", segment_mb=4 * KIB, max_mb=64 * KIB)
    accounts = [answer("small"), answer("large", reason="x" * 9000), answer("after")]
    for account in accounts:
        journal.end(account)
    assert await journal.head(9) == accounts
    crash(journal)


async def test_at_the_bound_queries_are_refused_while_those_under_way_can_end(tmp_path, accounts):
    journal = Journal.open(tmp_path, "gw", segment_mb=8 * KIB, max_mb=32 * KIB)
    begun = []
    with pytest.raises(JournalFull, match=r"the bound of `ledger\.journal\.max_mb`"):
        for account in accounts:
            journal.begin(opening(account.query_id))
            begun.append(account)
            if len(begun) > 3:
                journal.end(begun[-4])
            await until(lambda: journal._spare._next is None or journal._spare._next.done())
    for account in begun[-3:]:
        journal.end(account)
    assert await journal.head(500) == begun
    journal.settle(len(begun))
    await until(lambda: journal.problem is None)
    journal.begin(opening("again"))
    crash(journal)


async def test_the_very_last_room_used_is_an_error_and_what_is_written_stays(tmp_path, accounts):
    journal = Journal.open(tmp_path, "gw", segment_mb=4 * KIB, max_mb=8 * KIB)
    with pytest.raises(JournalFull):
        for account in accounts:
            journal.end(account)
    written = await journal.head(500)
    assert 0 < len(written) < 20
    assert written == accounts[: len(written)]
    crash(journal)


async def test_a_full_disk_is_told_and_over_when_there_is_space_again(tmp_path, accounts, monkeypatch):
    monkeypatch.setattr(spare, "_RETRY_S", 0.0)
    journal = Journal.open(tmp_path, "gw", segment_mb=4 * KIB)

    def no_space(fd: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as full_disk:
        full_disk.setattr(os, "posix_fallocate", no_space)
        with pytest.raises(JournalFull, match=r"cannot grow: No space left on device; free space on its disk"):
            for account in accounts:
                journal.end(account)
        await until(lambda: journal.problem is not None)
        with pytest.raises(JournalFull, match="No space left"):
            journal.begin(opening("new"))
    await until(lambda: journal.problem is None)
    num_before = len(journal)
    journal.begin(opening("new"))
    journal.end(accounts[num_before])
    assert await journal.head(500) == accounts[: num_before + 1]
    crash(journal)


async def test_a_write_that_fails_halfway_appends_nothing(tmp_path, accounts, monkeypatch):
    journal = Journal.open(tmp_path, "gw")
    journal.end(accounts[0])
    real, failures = os.pwrite, iter([False, True])

    def torn(fd: int, data: bytes, offset: int) -> int:
        if next(failures, False):
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
        return real(fd, data[:100], offset)

    with monkeypatch.context() as quota:
        quota.setattr(os, "pwrite", torn)
        with pytest.raises(JournalFull, match="quota"):
            journal.end(accounts[1])
    journal.end(accounts[2])
    assert await journal.head(9) == [accounts[0], accounts[2]]
    assert kinds(journal) == [Kind.END, Kind.END]
    crash(journal)


async def test_calls_at_once_share_a_sync_and_one_after_it_gets_its_own(tmp_path, accounts, monkeypatch):
    journal = Journal.open(tmp_path, "gw")
    num_syncs, real = 0, os.fdatasync

    def counted(fd: int) -> None:
        nonlocal num_syncs
        num_syncs += 1
        real(fd)

    monkeypatch.setattr(os, "fdatasync", counted)
    for account in accounts:
        journal.end(account)
    await asyncio.gather(*(journal.synced() for _ in range(50)))
    assert num_syncs == 1
    await journal.synced()
    assert num_syncs == 1
    first = asyncio.create_task(journal.synced())
    journal.gone("nobody")
    journal.end(accounts[0])
    await asyncio.gather(first, journal.synced())
    assert num_syncs == 2
    journal.end(accounts[0])
    journal.sync_soon()
    journal.sync_soon()
    await journal.synced()
    assert num_syncs == 3
    crash(journal)


async def test_a_caller_that_is_cancelled_does_not_stop_the_sync_of_the_others(tmp_path, accounts):
    journal = Journal.open(tmp_path, "gw")
    journal.end(accounts[0])
    impatient, patient = asyncio.create_task(journal.synced()), asyncio.create_task(journal.synced())
    await asyncio.sleep(0)
    impatient.cancel()
    await patient
    assert impatient.cancelled() or impatient.done()
    crash(journal)


async def test_a_disk_that_failed_is_not_trusted_again(tmp_path, accounts, monkeypatch):
    journal = Journal.open(tmp_path, "gw")
    journal.end(accounts[0])

    def broken(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as disk:
        disk.setattr(os, "fdatasync", broken)
        with pytest.raises(JournalFull, match=r"failed: Input/output error; replace it"):
            await journal.synced()
    for _ in range(2):
        with pytest.raises(JournalFull, match="replace it"):
            await journal.synced()
        with pytest.raises(JournalFull, match="replace it"):
            journal.begin(opening("new"))
    assert await journal.head(1) == accounts[:1]
    crash(journal)


async def test_accounts_that_the_disk_lost_hold_up_no_others(tmp_path, accounts):
    journal = Journal.open(tmp_path, "gw", segment_mb=4 * KIB, window=2)
    for account in accounts[:30]:
        journal.end(account)
    second = journal._folder.segment_paths()[1]
    data = bytearray(second.read_bytes())
    data[1000] ^= 1
    second.write_bytes(data)
    seen = []
    while len(journal):
        seen += (batch := await ids(journal, 2))
        journal.settle(len(batch))
    lost = [account.query_id for account in accounts[:30] if account.query_id not in seen]
    assert 0 < len(lost) == journal.num_unreadable < 10
    assert seen == [account.query_id for account in accounts[:30] if account.query_id not in lost]
    assert "its disk is damaged" in (journal.problem or "")
    journal.close()
    assert journal.path.exists()


async def test_a_root_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match=r"No journal can be kept in .*: Not a directory"):
        Journal.open(Path(tmp_path / "file" / "root"), "gw")


async def test_a_disk_that_is_full_at_the_start_leaves_no_folder(tmp_path, monkeypatch):
    def no_space(fd: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", no_space)
    with pytest.raises(JournalFull, match="No space left"):
        Journal.open(tmp_path, "gw")
    assert not (tmp_path / "gw").exists()


def test_the_lock_is_not_inherited_by_programs_that_the_owner_starts(tmp_path):
    journal = Journal.open(tmp_path, "gw")
    assert not os.get_inheritable(journal._folder._lock_fd)
    journal.close()
