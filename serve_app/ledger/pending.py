"""What a gateway has still to hand to the ledger: a queue on disk, and in memory what the disk had no room for."""

import logging
from collections import deque
from itertools import islice

from serve_app.core import Answer, JournalFull
from serve_app.ledger.journal import Journal

_LOG = logging.getLogger(__name__)


class Pending:
    """Accounts in the order they were put. The older ones lie in the journal, the newer ones may be in memory only.

    With no journal all are in memory: a killed process loses them. For one event loop.
    """

    def __init__(self, journal: Journal | None) -> None:
        self._journal, self._in_memory = journal, deque[Answer]()

    @property
    def num_in_memory(self) -> int:
        """Accounts that are nowhere on disk. Included in `len()`."""
        return len(self._in_memory)

    def __len__(self) -> int:
        return len(self._in_memory) + (len(self._journal) if self._journal is not None else 0)

    def append(self, answer: Answer) -> None:
        """Add an account at the end: to the journal, if all before it fit in there too. Never fails."""
        self._in_memory.append(answer)
        self._move_to_disk()

    async def head(self, count: int) -> list[Answer]:
        """The oldest accounts, at most `count`. Changes nothing; raises OSError when the journal cannot be read."""
        if self._journal is None:
            return list(islice(self._in_memory, count))
        count = min(count, self._journal.window)
        answers = await self._journal.head(count)
        return answers + list(islice(self._in_memory, count - len(answers)))

    def settle(self, count: int) -> None:
        """Forget the oldest `count`, which `head` gave out: the ledger has committed them."""
        num_on_disk = min(count, len(self._journal)) if self._journal is not None else 0
        if self._journal is not None and num_on_disk:
            self._journal.settle(num_on_disk)
        for _ in range(count - num_on_disk):
            answer = self._in_memory.popleft()
            if self._journal is not None:
                self._journal.gone(answer.query_id)
        self._move_to_disk()

    def postpone(self, answer: Answer) -> None:
        """Move the oldest account, which `head` gave out, to the end, so that it does not hold up the others."""
        self._in_memory.append(answer)
        self._move_to_disk()
        if self._journal is not None and len(self._journal):
            self._journal.settle(1)
        else:
            self._in_memory.popleft()

    def _move_to_disk(self) -> None:
        """Write down what is in memory, as far as there is room; the rest is tried again at the next call."""
        while self._journal is not None and self._in_memory:
            try:
                self._journal.end(self._in_memory[0])
            except JournalFull as error:
                _LOG.debug("%s accounts are in memory only: %s", len(self._in_memory), error)
                return
            self._in_memory.popleft()
