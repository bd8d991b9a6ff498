"""The owner's end: append from the event loop, make durable in a thread, hand over in order, delete what is settled."""

import asyncio
import contextlib
import logging
from collections import deque
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from serve_app.core import Answer, JournalFull, LedgerError, Opening
from serve_app.ledger.journal.folder import Folder
from serve_app.ledger.journal.frames import PREFIX, Kind, SegmentReader, pack, pack_position
from serve_app.ledger.journal.records import decode_answer, encode
from serve_app.ledger.journal.segment import Segment
from serve_app.ledger.journal.spare import Spare

_LOG = logging.getLogger(__name__)
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class _Unsettled:
    answer: Answer
    stop: int
    """Position behind its frame."""


@dataclass(frozen=True, slots=True)
class _Begun:
    frame: bytes
    start: int


class Journal:
    """A queue of accounts on disk, of one process. Used from one event loop; nothing but `head` and `synced` waits.

    An appended frame survives `kill -9`; one that `synced` has returned for survives the loss of power as well.
    Memory is bounded: beyond a window of the oldest accounts, the rest is read back when its turn comes. Segments are
    deleted from the oldest on, once the ledger has their accounts; queries that are still open are written again at the
    end first, so that one that runs for hours pins no file.
    """

    def __init__(self, folder: Folder, spare: Spare, window: int) -> None:
        """Called by `open`."""
        self._folder, self._spare, self.window = folder, spare, window
        self._segments: deque[Segment] = deque()
        self._dirty: list[Segment] = []
        self._open: dict[str, _Begun] = {}
        self._window: deque[_Unsettled] = deque()
        self._num_pending, self._read_to, self._settled_to = 0, 0, 0
        self._synced_to = 0
        self._waiting_for_disk: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._syncing = False
        self._fault: str | None = None
        self.num_unreadable = 0
        """Accounts that could not be read back from the disk; what there is of them stays in the folder."""
        self._rotate(0)

    @classmethod
    def open(
        cls, root: Path, owner: str, *, segment_mb: float = 4, max_mb: float = 1024, window: int = 2_000
    ) -> "Journal":
        """A new journal in ROOT/OWNER. What an earlier owner of that name left is not read: `adopt` sees to it.

        `window` is how many accounts are kept in memory. Raises LedgerError when no folder can be made there, and
        JournalFull when its disk is full.
        """
        max_bytes = int(max_mb * _MIB)
        folder = Folder.create(root, owner)
        spare = Spare(folder, min(int(segment_mb * _MIB), max_bytes // 2), max_bytes)
        try:
            return cls(folder, spare, window)
        except JournalFull:
            spare.close()
            folder.remove()
            raise

    @property
    def path(self) -> Path:
        """The folder."""
        return self._folder.path

    @property
    def problem(self) -> str | None:
        """Why no query can be begun, in words; None when one can."""
        return self._fault or self._spare.problem

    @property
    def num_open(self) -> int:
        """Queries begun and not ended."""
        return len(self._open)

    @property
    def num_bytes(self) -> int:
        """From the first account that the ledger does not have to the end; 0 when it has all."""
        return self._tail - self._settled_to if self._num_pending else 0

    def __len__(self) -> int:
        """Accounts that the ledger has not confirmed."""
        return self._num_pending

    def begin(self, opening: Opening) -> None:
        """Write down that a query begins. Raises JournalFull while there is a `problem`."""
        if problem := self.problem:
            raise JournalFull(problem)
        frame = pack(Kind.BEGIN, encode(opening))
        self._append(frame)
        self._open[opening.query_id] = _Begun(frame, self._tail - len(frame))

    def end(self, answer: Answer) -> None:
        """Write down an account, begun or not. Raises JournalFull when the last room is used up."""
        self._append(pack(Kind.END, encode(answer)))
        self._open.pop(answer.query_id, None)
        if len(self._window) == self._num_pending < self.window:
            self._window.append(_Unsettled(answer, self._tail))
            self._read_to = self._tail
        self._num_pending += 1

    def gone(self, query_id: str) -> None:
        """No account of this query will be written down here: it was refused, or the ledger has it already."""
        if self._open.pop(query_id, None):
            self._note(Kind.GONE, query_id.encode())
            self._drop_settled()

    async def head(self, count: int) -> list[Answer]:
        """The oldest accounts, at most `count`, which is at most `window`; changes nothing. One caller at a time.

        Raises OSError when the disk cannot be read.
        """
        while len(self._window) < min(count, self._num_pending):
            await self._read_back(self.window)
        return [unsettled.answer for unsettled in islice(self._window, count)]

    def settle(self, count: int) -> None:
        """The ledger has the oldest `count` accounts, which `head` gave out before; their room is free."""
        for _ in range(count):
            self._settled_to = self._window.popleft().stop
        self._num_pending -= count
        self._note(Kind.SETTLED, pack_position(self._settled_to))
        self._drop_settled()

    async def synced(self) -> None:
        """Return when all that was appended before the call is on disk; calls at the same time share one sync.

        Raises JournalFull when the disk fails. It is not trusted again by this journal: `problem` stays.
        """
        wanted = self._tail
        if self._fault:
            raise JournalFull(self._fault)
        if self._synced_to >= wanted:
            return
        on_disk = asyncio.get_running_loop().create_future()
        self._waiting_for_disk.append((wanted, on_disk))
        if not self._syncing:
            self._begin_sync()
        await on_disk

    def sync_soon(self) -> None:
        """Have the disk begin with all that was appended, so that `synced` waits for less; returns at once."""
        if not self._syncing and not self._fault and self._synced_to < self._tail:
            self._begin_sync()

    def close(self) -> None:
        """Leave the journal; its folder is removed when nothing is open and the ledger has all, else left to `adopt`.

        Waits for the disk. Nothing else may be called then.
        """
        self._spare.close()
        for segment in self._segments:
            segment.close()
        if self._num_pending or self._open or self.num_unreadable:
            self._folder.release()
        else:
            self._folder.remove()

    @property
    def _tail(self) -> int:
        return self._segments[-1].stop

    def _append(self, frame: bytes, over: bool = False) -> None:
        """`over` the bound if need be. Raises JournalFull, with nothing appended."""
        if not self._segments[-1].has_room(len(frame)):
            self._rotate(len(frame), over)
        segment = self._segments[-1]
        try:
            segment.append(frame)
        except OSError as error:
            raise JournalFull(f"The journal in {self.path} cannot be written: {error.strerror or error}.") from error
        if not self._dirty or self._dirty[-1] is not segment:
            self._dirty.append(segment)

    def _rotate(self, frame_bytes: int, over: bool = False) -> None:
        segment = self._spare.take(PREFIX.size + frame_bytes, over)
        try:
            segment.begin_at(self._tail if self._segments else 0)
        except OSError as error:
            self._spare.give_back(segment, ())
            raise JournalFull(f"The journal in {self.path} cannot be written: {error.strerror or error}.") from error
        self._segments.append(segment)

    def _note(self, kind: Kind, payload: bytes) -> None:
        """Append what spares an adopter work. Without it the ledger gets some accounts twice, which changes nothing."""
        try:
            self._append(pack(kind, payload), over=True)
        except JournalFull as error:
            _LOG.debug("Not noted in the journal: %s", error)

    def _drop_settled(self) -> None:
        """Delete segments from the oldest on, as long as no account in them is unsettled."""
        while len(self._segments) > 1:
            oldest = self._segments[0]
            if self._num_pending and oldest.stop > self._settled_to:
                return
            try:
                copied_to = self._begin_again(oldest.stop)
            except JournalFull as error:  # no room to copy an open query: the next settled batch tries again
                _LOG.debug("A segment of the journal is kept: %s", error)
                return
            self._segments.popleft()
            self._dirty = [segment for segment in self._dirty if segment is not oldest]
            self._spare.give_back(oldest, copied_to)

    def _begin_again(self, before: int) -> list[Segment]:
        """Copy to the end what was begun before a position and is still open; the segments that have the copies."""
        old = [(query_id, begun) for query_id, begun in self._open.items() if begun.start < before]
        copied_to: list[Segment] = []
        for query_id, begun in old:
            self._append(begun.frame, over=True)
            self._open[query_id] = _Begun(begun.frame, self._tail - len(begun.frame))
            if self._segments[-1] not in copied_to:
                copied_to.append(self._segments[-1])
        return copied_to

    async def _read_back(self, count: int) -> None:
        """Fill the window up to `count` accounts."""
        num_before, stop = self._num_pending, self._tail
        paths = [segment.path for segment in self._segments if segment.stop > self._read_to]
        wanted = count - len(self._window)
        found, read_to = await asyncio.to_thread(_accounts_between, paths, self._read_to, stop, wanted)
        self._window.extend(found)
        self._read_to = read_to
        if len(found) < wanted and (num_missing := num_before - len(self._window)):
            self.num_unreadable += num_missing
            self._num_pending -= num_missing
            self._fault = f"The journal in {self.path} lost {self.num_unreadable} accounts: its disk is damaged."
            _LOG.error("%s", self._fault)

    def _begin_sync(self) -> None:
        """In the thread, and back by one callback: each turn of a busy loop that a query waits for costs it time."""
        loop, segments, stop = asyncio.get_running_loop(), self._dirty, self._tail
        self._syncing, self._dirty = True, []

        def sync() -> None:
            error = _sync_all(segments)
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits
                loop.call_soon_threadsafe(self._end_sync, stop, error)

        self._spare.thread.submit(sync)

    def _end_sync(self, stop: int, error: OSError | None) -> None:
        """Let those go on whose accounts are on disk; all of them, with JournalFull, when the disk has failed."""
        self._syncing = False
        if error is None:
            self._synced_to = stop
        else:
            self._fault = f"The disk of the journal in {self.path} failed: {error.strerror or error}; replace it."
        while self._waiting_for_disk and (error is not None or self._waiting_for_disk[0][0] <= stop):
            _, on_disk = self._waiting_for_disk.popleft()
            if on_disk.done():  # cancelled
                continue
            if error is None:
                on_disk.set_result(None)
            else:
                on_disk.set_exception(JournalFull(self._fault))
        if self._waiting_for_disk:
            self._begin_sync()


def _sync_all(segments: list[Segment]) -> OSError | None:
    try:
        for segment in segments:
            segment.sync()
    except OSError as error:
        return error
    return None


def _accounts_between(paths: list[Path], start: int, stop: int, count: int) -> tuple[list[_Unsettled], int]:
    """At most `count` accounts that begin at position `start` or later and before `stop`, and where to read on."""
    found: list[_Unsettled] = []
    for path in paths:
        for frame in SegmentReader(path).frames(start):
            if frame.start >= stop:
                break
            if frame.kind is Kind.END:
                try:
                    found.append(_Unsettled(decode_answer(frame.payload), frame.stop))
                except LedgerError:
                    _LOG.exception("An account in %s is skipped.", path)
                if len(found) == count:
                    return found, frame.stop
    return found, stop
