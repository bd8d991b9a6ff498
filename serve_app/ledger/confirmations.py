"""Who waits for the ledger to have which account."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from serve_app.core import Answer


@dataclass(frozen=True, slots=True)
class _Waiter:
    query_id: str
    position: int
    done: asyncio.Future[None]


class Confirmations:
    """Accounts are confirmed in the order they were put, so that a count says which; nothing is kept per account.

    Only those that were postponed, because the ledger refuses them, are known by name.
    """

    def __init__(self) -> None:
        self._waiters: list[_Waiter] = []
        self._postponed: set[str] = set()
        self._num_passed = 0
        self.num_put = 0
        """Accounts put so far, one that was postponed once more each time; counted up by the recorder."""

    @property
    def num_waiting(self) -> int:
        """Callers in `wait`."""
        return len(self._waiters)

    async def wait(self, query_id: str) -> None:
        """Return when the ledger has the account that was just put, and with it all that were put before."""
        waiter = _Waiter(query_id, self.num_put, asyncio.get_running_loop().create_future())
        if self._is_confirmed(waiter):
            return
        self._waiters.append(waiter)
        try:
            await waiter.done
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def confirm(self, answers: Sequence[Answer]) -> None:
        """The ledger has the oldest accounts: these."""
        self._num_passed += len(answers)
        self._postponed.difference_update(answer.query_id for answer in answers)
        waiting = self._waiters
        self._waiters = [waiter for waiter in waiting if not self._is_confirmed(waiter)]
        for waiter in waiting:
            if self._is_confirmed(waiter) and not waiter.done.done():
                waiter.done.set_result(None)

    def postpone(self, answer: Answer) -> None:
        """The oldest account went to the end of the queue."""
        self._postponed.add(answer.query_id)
        self._num_passed += 1
        self.num_put += 1

    def _is_confirmed(self, waiter: _Waiter) -> bool:
        return self._num_passed >= waiter.position and waiter.query_id not in self._postponed
