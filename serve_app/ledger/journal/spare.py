"""Room ahead: the next segment is made while the current one is filled, so that a full disk is known in time."""

import logging
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from serve_app.core import JournalFull
from serve_app.ledger.journal.folder import Folder
from serve_app.ledger.journal.segment import Segment
from serve_app.ledger.journal.worker import Worker

_LOG = logging.getLogger(__name__)
_RETRY_S = 0.5


class Spare:
    """Gives out segments, and takes back those that are done with. All methods are called from one thread.

    `thread` does what may wait for the disk, in order, so that no file is closed while it is synced; new files are made
    beside it, so that no query waits for one. As long as there is no `problem`, a whole segment is free behind the
    current one: so new queries are refused while there is still room for the accounts of those under way.
    """

    def __init__(self, folder: Folder, segment_bytes: int, max_bytes: int) -> None:
        self._folder, self._segment_bytes, self._max_bytes = folder, segment_bytes, max_bytes
        self._next: Future[Segment] | None = None
        self._num_made, self._held_bytes, self._tried_at_s = 0, 0, 0.0
        self.thread = Worker("journal")
        self._maker = ThreadPoolExecutor(1, thread_name_prefix="journal-spare")
        self._make(segment_bytes)

    @property
    def problem(self) -> str | None:
        """Why there is no free segment, in words; None when there is one, or one is being made.

        Asking when the last try is half a second old makes a new one, whose result the next asking tells.
        """
        if self._next is not None and not self._next.done():
            return None
        problem = self._failure()
        if problem is not None and time.monotonic() >= self._tried_at_s + _RETRY_S:
            self._make(self._segment_bytes)
        return problem

    def take(self, num_bytes: int, over: bool = False) -> Segment:
        """A segment with room for so many bytes; waits for the disk if it must. Raises JournalFull.

        `over` the bound by one segment may go what is written in order to free others.
        """
        wanted_bytes = max(num_bytes, self._segment_bytes)
        if self._next is None and over:
            self._make(wanted_bytes, self._segment_bytes)
        elif problem := self._failure():
            if time.monotonic() < self._tried_at_s + _RETRY_S:  # a full disk is not asked for every account
                raise JournalFull(problem)
            self._make(wanted_bytes)
        if self._next is None:
            raise JournalFull(self._bound_reached())
        try:
            segment = self._next.result()
        except OSError as error:
            raise JournalFull(self._disk_full(error)) from error
        if segment.capacity_bytes < wanted_bytes:  # an account of a size never seen: it gets a segment of its own
            self.thread.submit(partial(self._remove, segment, ()))
            self._make(wanted_bytes)
            return self.take(num_bytes, over)
        self._held_bytes += segment.capacity_bytes
        self._make(self._segment_bytes)
        return segment

    def give_back(self, segment: Segment, behind: Sequence[Segment]) -> None:
        """Delete a segment once what was written to those `behind` it is on disk."""
        self._held_bytes -= segment.capacity_bytes
        self.thread.submit(partial(self._remove, segment, tuple(behind)))
        if self._next is None:
            self._make(self._segment_bytes)

    def close(self) -> None:
        """Wait for what is under way; the free segment is deleted."""
        self.thread.shutdown()
        self._maker.shutdown()
        if self._next is not None and self._next.exception() is None:
            self._next.result().remove()

    def _make(self, num_bytes: int, over_bytes: int = 0) -> None:
        """Have the next segment made, if the bound allows it."""
        self._tried_at_s, self._next = time.monotonic(), None
        if self._held_bytes + num_bytes <= self._max_bytes + over_bytes:
            self._num_made += 1
            self._next = self._maker.submit(Segment, self._folder.segment_path(self._num_made), num_bytes)

    def _failure(self) -> str | None:
        if self._next is None:
            return self._bound_reached()
        if not self._next.done() or (error := self._next.exception()) is None:
            return None
        return self._disk_full(error)

    def _bound_reached(self) -> str:
        return (
            f"The accounts that the ledger has not taken fill {self._max_bytes >> 20} MiB, the bound of "
            "`ledger.journal.max_mb`; queries are taken again when the ledger has caught up."
        )

    def _disk_full(self, error: BaseException) -> str:
        cause = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return f"The journal in {self._folder.path} cannot grow: {cause}; free space on its disk."

    @staticmethod
    def _remove(segment: Segment, behind: Sequence[Segment]) -> None:
        try:
            for newer in behind:
                newer.sync()
            segment.remove()
        except OSError:  # the file is left behind; its accounts are sent again after this process, and change nothing
            _LOG.exception("A segment of the journal, %s, could not be removed.", segment.path)
