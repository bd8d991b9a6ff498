"""What becomes of the journals of dead owners: their accounts go to the ledger, what had no end is lost."""

import asyncio
import logging
import struct
import zlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from serve_app.core import Answer, Ledger, LedgerError, Opening
from serve_app.ledger.journal.folder import Folder, owner_folders
from serve_app.ledger.journal.frames import Frame, Kind, SegmentReader, unpack_position
from serve_app.ledger.journal.records import decode_answer, decode_opening, decode_query_id, encode

_LOG = logging.getLogger(__name__)
_AWAY_AFTER = 3
"""Accounts refused one by one, with none taken, after which it is the ledger that is at fault, not the accounts."""


@dataclass(frozen=True, slots=True)
class Adopted:
    """What one call of `adopt` did."""

    num_answers: int = 0
    """Accounts handed to the ledger; some it may have had before."""
    num_lost: int = 0
    """Queries that had begun and never ended. Disjoint from `num_answers`."""
    folders: tuple[str, ...] = ()
    """Names of the folders that were emptied and, as far as the disk allowed, removed."""


async def adopt(
    root: Path,
    ledger: Ledger,
    *,
    batch: int = 500,
    record_timeout_s: float = 30.0,
    before_removal: Callable[[str], Awaitable[object]] | None = None,
) -> Adopted:
    """Hand over what dead owners under `root` left, in the order it was written, and remove their folders.

    May be called at any time, by several processes at once and again after it was broken off: a folder is adopted by
    one caller at a time, and the ledger knows what it has. A query without an end becomes an account with outcome
    `lost`. What cannot be read, or what the ledger alone refuses, is put aside in ROOT as `*.damaged`, with a line in
    the log. `before_removal` is awaited with the name of each folder whose accounts the ledger has; where it raises
    LedgerError, the folder stays for the next time.

    Raises LedgerError, when all folders were tried and none was adopted, for the first whose accounts the ledger did
    not take; what was done for others is not lost on the caller.
    """
    adopted, first_error = Adopted(), None
    for path in owner_folders(root):
        folder = Folder.take_over(path)
        if folder is None:
            continue
        try:
            num_answers, num_lost = await _Estate(folder).hand_over(ledger, batch, record_timeout_s)
            if before_removal is not None:
                await before_removal(path.name)
        except (LedgerError, OSError) as error:
            folder.release()
            _LOG.warning("The journal %s is not adopted yet: %s", path.name, error)
            first_error = first_error or error
            continue
        except BaseException:
            folder.release()
            raise
        try:
            await asyncio.to_thread(folder.remove)
        except OSError as error:  # it is adopted all the same; a folder still locked is left alone by this process
            _LOG.error("The adopted journal %s cannot be deleted, delete it by hand: %s", path.name, error)
        _LOG.info("The journal %s is adopted: %s accounts, %s queries lost.", path.name, num_answers, num_lost)
        adopted = Adopted(adopted.num_answers + num_answers, adopted.num_lost + num_lost, (*adopted.folders, path.name))
    if first_error and not adopted.folders:
        raise LedgerError(f"A dead gateway's journal is not adopted yet: {first_error}") from first_error
    return adopted


class _Estate:
    """One dead owner's folder, held by this process. It is read twice, so that memory stays small."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._open: dict[str, Opening] = {}
        self._settled_to = 0

    async def hand_over(self, ledger: Ledger, batch: int, timeout_s: float) -> tuple[int, int]:
        """How many accounts were handed over, and how many queries were lost."""
        await asyncio.to_thread(self._survey)
        num_answers, answers = 0, self._answers()
        while answered := await asyncio.to_thread(lambda: list(islice(answers, batch))):
            num_answers += await self._send(ledger, answered, timeout_s)
        lost, num_lost = [_lost(opening) for opening in self._open.values()], 0
        for start in range(0, len(lost), batch):
            num_lost += await self._send(ledger, lost[start : start + batch], timeout_s)
        return num_answers, num_lost

    def _survey(self) -> None:
        """Find how far the ledger was, and what is open; keep aside what cannot be read."""
        for path in self._folder.segment_paths():
            reader = SegmentReader(path)
            for frame in reader.frames():
                try:
                    self._note(frame)
                except (LedgerError, struct.error, UnicodeDecodeError):
                    self._put_aside(path.stem, frame.payload, "a record of another version")
            if reader.damaged_at is not None:
                with path.open("rb") as file:
                    file.seek(reader.damaged_at)
                    self._put_aside(path.stem, file.read().rstrip(b"\0"), f"bytes from {reader.damaged_at} on")

    def _note(self, frame: Frame) -> None:
        if frame.kind is Kind.BEGIN:
            opening = decode_opening(frame.payload)
            self._open[opening.query_id] = opening
        elif frame.kind is Kind.END:
            self._open.pop(decode_query_id(frame.payload), None)
        elif frame.kind is Kind.GONE:
            self._open.pop(frame.payload.decode(), None)
        else:
            self._settled_to = max(self._settled_to, unpack_position(frame.payload))

    def _answers(self) -> Iterator[Answer]:
        """The accounts that the ledger has not confirmed, as they were written."""
        for path in self._folder.segment_paths():
            for frame in SegmentReader(path).frames():
                if frame.kind is Kind.END and frame.stop > self._settled_to:
                    try:
                        yield decode_answer(frame.payload)
                    except LedgerError:
                        self._put_aside(path.stem, frame.payload, "an account of another version")

    async def _send(self, ledger: Ledger, answers: Sequence[Answer], timeout_s: float) -> int:
        """One transaction, or single accounts where one of them is refused; how many the ledger took."""
        try:
            await _record(ledger, answers, timeout_s)
        except LedgerError as error:
            if len(answers) == 1:
                raise
            _LOG.warning("%s accounts are handed over one by one: %s", len(answers), error)
            return await self._send_singly(ledger, answers, timeout_s)
        return len(answers)

    async def _send_singly(self, ledger: Ledger, answers: Sequence[Answer], timeout_s: float) -> int:
        refused = []
        for answer in answers:
            try:
                await _record(ledger, [answer], timeout_s)
            except LedgerError:
                refused.append(answer)
                if len(refused) in (_AWAY_AFTER, len(answers)) and answer is answers[len(refused) - 1]:
                    raise
        for answer in refused:
            self._put_aside("refused", encode(answer), f"the account of query {answer.query_id}, which no ledger takes")
        return len(answers) - len(refused)

    def _put_aside(self, name: str, data: bytes, what: str) -> None:
        """Keep bytes for a person; the same bytes get the same name, so that a second adoption adds nothing."""
        root = self._folder.path.parent
        path = root / f"{self._folder.path.name}-{name}-{zlib.crc32(data):08x}.damaged"
        path.write_bytes(data)
        _LOG.error("The journal %s is damaged; %s kept in %s.", self._folder.path.name, what, path)


async def _record(ledger: Ledger, answers: Sequence[Answer], timeout_s: float) -> None:
    """Raises LedgerError, whatever the ledger behind its handle raised."""
    try:
        async with asyncio.timeout(timeout_s):
            await ledger.record(answers)
    except LedgerError:
        raise
    except Exception as error:
        raise LedgerError(f"The ledger did not take the accounts: {error or type(error).__name__}.") from error


def _lost(opening: Opening) -> Answer:
    return Answer(
        query_id=opening.query_id,
        created_at_s=opening.created_at_s,
        requested_model=opening.requested_model,
        outcome="lost",
        attempts=(),
        key_id=opening.key_id,
        reason="its gateway died before it ended",
        tier=opening.tier,
        gateway=opening.gateway,
    )
