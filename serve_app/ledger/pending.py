"""What a gateway has still to hand to the ledger. The seam for the durable journal of DESIGN, definition 2."""

from collections import deque
from itertools import islice
from typing import Protocol

from serve_app.core import Answer


class Pending(Protocol):
    """A queue of unsaved accounts. All methods return at once and are called from one event loop.

    A journal implements it by appending to a file, and by recovering its rest when it is opened.
    """

    def append(self, answer: Answer) -> None:
        """Add an account at the tail."""
        ...

    def head(self, count: int) -> list[Answer]:
        """The first `count` accounts, or fewer. Changes nothing."""
        ...

    def settle(self, count: int) -> None:
        """Forget the first `count` accounts: the ledger has committed them."""
        ...

    def postpone(self) -> None:
        """Move the first account to the tail, so that it does not hold up the others."""
        ...

    def __len__(self) -> int: ...


class MemoryPending:
    """In this process only: a killed process loses what it had not flushed."""

    def __init__(self) -> None:
        self._answers: deque[Answer] = deque()

    def append(self, answer: Answer) -> None:
        self._answers.append(answer)

    def head(self, count: int) -> list[Answer]:
        return list(islice(self._answers, count))

    def settle(self, count: int) -> None:
        for _ in range(count):
            self._answers.popleft()

    def postpone(self) -> None:
        self._answers.rotate(-1)

    def __len__(self) -> int:
        return len(self._answers)
